"""Tests of the targets of the RPN and of the RoIs, for two images of two objects, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops.boxes import iou
from mask_rcnn.targets import refined_targets, roi_targets, rpn_targets

CAT, DOG = [0.0, 0, 10, 10], [30.0, 30, 50, 50]
FAR = [80.0, 80, 90, 90]
PADDING = [0.0, 0, 0, 0]
ANCHORS = tf.constant([CAT, [0, 0, 10, 9], [30, 30, 50, 44], FAR])
DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def make_batch(gt_boxes, gt_class_ids):
    return {
        "gt_boxes": tf.constant(gt_boxes, tf.float32),
        "gt_class_ids": tf.constant(gt_class_ids),
        "seeds": tf.stack([tf.zeros(len(gt_boxes), tf.int32), tf.range(len(gt_boxes))], axis=-1),
    }


CAT_AND_DOG = make_batch([[CAT, DOG]], [[1, 2]])
EMPTY = make_batch([[PADDING, PADDING]], [[0, 0]])
CROWD = make_batch([[[0.0, 0, 100, 100], PADDING]], [[-1, 0]])


def rpn(batch, anchors=ANCHORS, samples=4, positive_iou=0.7, negative_iou=0.3):
    return rpn_targets(
        anchors,
        batch,
        samples=samples,
        positive_fraction=0.5,
        positive_iou=positive_iou,
        negative_iou=negative_iou,
    )


def rois(batch, proposals, valid=None, samples=4, fraction=0.5):
    proposals = tf.reshape(tf.constant(proposals, tf.float32), [len(batch["seeds"]), -1, 4])
    valid = tf.ones(proposals.shape[:2], bool) if valid is None else tf.constant(valid)
    return roi_targets(
        proposals,
        valid,
        batch,
        samples=samples,
        positive_fraction=fraction,
        positive_iou=0.5,
        delta_weights=DELTA_WEIGHTS,
    )


def chosen(targets, name):
    """Returns the values of the valid samples of the first image, as a sorted list."""
    return sorted(targets[name][0][targets["valid"][0]].numpy().tolist())


def test_anchors_of_an_object_are_positive():
    targets = rpn(CAT_AND_DOG, samples=6)
    np.testing.assert_array_equal(targets["valid"], [[True] * 4 + [False] * 2])
    np.testing.assert_array_equal(targets["positive"], [[True] * 3 + [False] * 3])
    np.testing.assert_array_equal(targets["objectness"], [[1, 1, 1, 0, 0, 0]])
    assert sorted(targets["indices"][0, :3].numpy()) == [0, 1, 2]
    assert targets["indices"][0, 3] == 3


def test_rpn_deltas_lead_from_the_anchor_to_its_object():
    targets = rpn(CAT_AND_DOG, samples=6)
    by_anchor = dict(zip(targets["indices"][0, :3].numpy(), targets["deltas"][0].numpy(), strict=False))
    np.testing.assert_allclose(by_anchor[0], np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(by_anchor[1], [0, 0.5 / 9, 0, np.log(10 / 9)], atol=1e-6)  # 9 columns wide
    np.testing.assert_allclose(by_anchor[2], [0, 3 / 14, 0, np.log(20 / 14)], atol=1e-6)  # 14 columns wide


def test_the_best_anchor_of_an_object_counts_whatever_its_iou():
    targets = rpn(CAT_AND_DOG, positive_iou=0.99, samples=8)
    # CAT's exact anchor, and DOG's best one with IoU 0.7. CAT's second one is between the thresholds.
    assert sorted(targets["indices"][targets["positive"]].numpy()) == [0, 2]
    assert targets["valid"].numpy().sum() == 3


def test_half_of_the_anchors_are_positive_at_most():
    targets = rpn(CAT_AND_DOG, samples=2)
    assert targets["objectness"].numpy().tolist() == [[1, 0]]


def test_an_image_without_objects_has_negative_anchors_only():
    targets = rpn(EMPTY)
    assert chosen(targets, "indices") == [0, 1, 2, 3]
    assert not targets["positive"].numpy().any()
    assert not targets["objectness"].numpy().any()
    assert np.isfinite(targets["deltas"]).all()


def test_anchors_in_a_crowd_are_not_sampled():
    assert not rpn(CROWD)["valid"].numpy().any()


def test_a_roi_takes_class_deltas_and_index_of_its_object():
    proposal = [30.0, 30, 50, 46]  # IoU 0.8 with DOG
    targets = rois(CAT_AND_DOG, [proposal, FAR], samples=8)
    np.testing.assert_array_equal(targets["positive"], [[True] * 3 + [False] * 5])  # with both objects
    np.testing.assert_array_equal(targets["valid"], [[True] * 4 + [False] * 4])
    position = targets["rois"][0].numpy().tolist().index(proposal)
    assert targets["class_ids"][0, position] == 2
    assert targets["matched"][0, position] == 1
    # The center is shifted by 2 of 16 columns, and the width is multiplied by 20 / 16. Weights 10 and 5.
    expected = [0, 10 * 2 / 16, 0, 5 * np.log(20 / 16)]
    np.testing.assert_allclose(targets["deltas"][0, position], expected, atol=1e-5)
    assert targets["rois"][0, 3].numpy().tolist() == FAR
    assert targets["class_ids"][0, 3] == 0


def test_the_objects_themselves_are_positive_rois():
    targets = rois(CAT_AND_DOG, [FAR, [60, 60, 70, 70]])
    assert sorted(targets["rois"][0, :2].numpy().tolist()) == [CAT, DOG]
    assert sorted(targets["class_ids"][0].numpy()) == [0, 0, 1, 2]
    np.testing.assert_allclose(targets["deltas"][0, :2], np.zeros([2, 4]), atol=1e-5)


def test_objects_are_rois_without_any_proposal():
    targets = rois(CAT_AND_DOG, [])
    assert targets["valid"].numpy().tolist() == [[True, True, False, False]]


def test_proposals_that_are_padding_are_not_sampled():
    targets = rois(EMPTY, [FAR, PADDING, PADDING], valid=[[True, False, False]])
    assert chosen(targets, "rois") == [FAR]
    assert chosen(targets, "class_ids") == [0]


def test_a_crowd_is_no_roi_and_its_inside_neither_positive_nor_negative():
    assert not rois(CROWD, [CAT, FAR])["valid"].numpy().any()


def test_background_has_class_zero():
    targets = rois(EMPTY, [CAT, FAR])
    assert chosen(targets, "class_ids") == [0, 0]
    assert not targets["positive"].numpy().any()


@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_positive_rois_are_at_most_their_fraction(fraction):
    proposals = [CAT] * 8 + [FAR] * 8
    targets = rois(CAT_AND_DOG, proposals, samples=8, fraction=fraction)
    assert targets["positive"].numpy().sum() == 8 * fraction
    assert targets["valid"].numpy().all()


def test_rois_have_no_gradient():
    proposals = tf.constant([[CAT, FAR]])
    with tf.GradientTape() as tape:
        tape.watch(proposals)
        targets = roi_targets(
            proposals,
            tf.ones([1, 2], bool),
            CAT_AND_DOG,
            samples=4,
            positive_fraction=0.5,
            positive_iou=0.5,
            delta_weights=DELTA_WEIGHTS,
        )
        total = tf.reduce_sum(targets["rois"])
    assert tape.gradient(total, proposals) is None


def refine(batch, rois, valid=None, positive_iou=0.6):
    rois = tf.constant([rois], tf.float32)
    valid = tf.ones(rois.shape[:2], bool) if valid is None else tf.constant([valid])
    return refined_targets(rois, valid, batch, positive_iou=positive_iou, delta_weights=DELTA_WEIGHTS)


def test_all_boxes_of_a_cascade_are_labelled_anew_in_their_order():
    # IoU 0.8 and 0.5 with DOG, 0.9 with CAT, none.
    targets = refine(CAT_AND_DOG, [[30.0, 30, 50, 46], [30, 30, 50, 40], [0, 0, 10, 9], FAR])
    assert targets["class_ids"].numpy().tolist() == [[2, 0, 1, 0]]
    assert targets["positive"].numpy().tolist() == [[True, False, True, False]]
    assert targets["valid"].numpy().all()
    np.testing.assert_allclose(targets["deltas"][0, 0], [0, 10 * 2 / 16, 0, 5 * np.log(20 / 16)], atol=1e-5)
    np.testing.assert_allclose(targets["deltas"][0, 2], [0, 10 * 0.5 / 9, 0, 5 * np.log(10 / 9)], atol=1e-5)


def test_empty_boxes_and_those_in_crowds_teach_the_next_head_nothing():
    targets = refine(CAT_AND_DOG, [DOG, [8.0, 8, 8, 9]], valid=[True, False])
    assert targets["valid"].numpy().tolist() == [[True, False]]
    assert not refine(CROWD, [DOG, FAR])["valid"].numpy().any()
    assert not refine(EMPTY, [DOG, FAR])["positive"].numpy().any()


def random_boxes(rng, count):
    corners = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=-1).astype("float32")


def sampled_by(kind, boxes, batch):
    """Returns the boxes that a head is trained on, and the dict of their targets."""
    if kind == "anchors":
        targets = rpn(batch, tf.constant(boxes), samples=2 * len(boxes))
        return boxes[targets["indices"][0]], targets
    targets = rois(batch, boxes, samples=2 * len(boxes)) if kind == "RoIs" else refine(batch, boxes)
    return targets["rois"][0].numpy(), targets


@pytest.mark.parametrize("kind, negative_iou", [("anchors", 0.3), ("RoIs", 0.5), ("refined RoIs", 0.6)])
def test_objects_that_are_ignored_are_never_taught_as_background(kind, negative_iou):
    rng = np.random.default_rng(0)
    background = 0
    for _ in range(20):
        objects = random_boxes(rng, 8)
        jittered = objects[rng.integers(8, size=80)] + rng.normal(0, 3, (80, 4)).astype("float32")
        boxes = np.concatenate([objects, jittered, random_boxes(rng, 40)])
        batch = make_batch([objects], [[1, 2, 3] + [-1] * 5])
        taught, targets = sampled_by(kind, boxes, batch)
        negatives = (targets["valid"] & ~targets["positive"])[0].numpy()
        overlap = iou(taught[negatives], objects[3:]).numpy()
        assert (overlap < negative_iou).all()
        background += negatives.sum()
        matched = targets["matched"][0].numpy() if "matched" in targets else np.zeros(1)
        assert (matched < 3).all()
        positives = taught[targets["positive"][0]]
        assert len(positives) and (iou(positives, objects[:3]).numpy().max(axis=1) > 0).all()
    assert background > 200


def test_only_ignored_objects_give_negatives_outside_of_them():
    batch = make_batch([[CAT, DOG]], [[-1, -1]])
    for kind in ("anchors", "RoIs", "refined RoIs"):
        taught, targets = sampled_by(kind, np.array([CAT, DOG, FAR], "float32"), batch)
        assert not targets["positive"].numpy().any()
        assert taught[targets["valid"][0]].tolist() == [FAR]


def test_an_object_without_an_area_is_no_roi():
    batch = make_batch([[[5.0, 5, 5, 9], [3.0, 3, 3, 3]]], [[1, 1]])
    targets = rois(batch, [FAR, CAT])
    assert chosen(targets, "rois") == [CAT, FAR]
    assert not targets["positive"].numpy().any()


def test_two_images_have_targets_of_their_own():
    batch = make_batch([[CAT, DOG], [FAR, PADDING]], [[1, 2], [3, 0]])
    proposals = [[[30, 30, 50, 46], FAR], [[30, 30, 50, 46], FAR]]
    together = rois(batch, proposals)
    for image in range(2):
        one = {name: value[image : image + 1] for name, value in batch.items()}
        alone = rois(one, proposals[image])
        valid = together["valid"][image]
        np.testing.assert_array_equal(valid, alone["valid"][0])
        for name in ("rois", "class_ids", "deltas", "positive"):
            np.testing.assert_array_equal(together[name][image][valid], alone[name][0][valid])
    assert sorted(set(together["class_ids"][1].numpy())) == [0, 3]


def test_the_rpn_and_the_rois_are_sampled_independently():
    anchors = tf.random.stateless_uniform([64, 4], (0, 0), 100, 110)  # none overlaps an object
    first = rpn(EMPTY, anchors, samples=8)["indices"].numpy()
    candidates = rois(EMPTY, anchors.numpy().tolist(), samples=8)["rois"].numpy()
    second = [np.flatnonzero((anchors.numpy() == roi).all(axis=1))[0] for roi in candidates[0]]
    assert set(first[0]) != set(second)
