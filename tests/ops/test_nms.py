"""Tests of non-maximum suppression with outputs of fixed size."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import nms
from mask_rcnn.ops.nms import DROPPED, nms_per_class, nms_per_group

HALF = 0.5


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"], autouse=True)
def visible_gpu(request, monkeypatch):
    """Runs each test with TensorFlow's CPU kernel, and with the operations for GPUs."""
    monkeypatch.setattr(nms, "has_gpu", lambda: request.param)


def strip(width):
    """Returns a box whose IoU with `strip(10)` is width / 10."""
    return [0.0, 0, 10, width]


def group_nms(boxes, scores, groups=None, iou=HALF, max_output=4):
    """Applies NMS to one image; returns NumPy arrays `[M, 4]`, `[M]`, `[M]`."""
    boxes = tf.reshape(tf.constant(boxes, tf.float32), [1, -1, 4])
    scores = tf.reshape(tf.constant(scores, tf.float32), [1, -1])
    groups = tf.zeros(scores.shape[1], tf.int32) if groups is None else tf.constant(groups)
    return [
        x[0].numpy()
        for x in nms_per_group(boxes, scores, groups, num_groups=3, iou_threshold=iou, max_output=max_output)
    ]


def class_nms(boxes, scores, threshold=0.05, max_output=4):
    boxes, scores = tf.constant([boxes], tf.float32), tf.constant([scores], tf.float32)
    return [
        x[0].numpy()
        for x in nms_per_class(
            boxes, scores, iou_threshold=HALF, score_threshold=threshold, max_output=max_output
        )
    ]


def test_a_box_over_a_better_one_is_suppressed():
    boxes, scores, valid = group_nms([strip(8), strip(10), [50, 50, 60, 60]], [1.0, 2.0, -3.0])
    np.testing.assert_array_equal(boxes, [strip(10), [50, 50, 60, 60], [0] * 4, [0] * 4])
    np.testing.assert_allclose(scores, [2, -3, 0, 0], atol=1e-5)
    assert valid.tolist() == [True, True, False, False]


def test_an_iou_of_exactly_the_threshold_is_kept():
    _, _, valid = group_nms([strip(10), strip(5)], [2.0, 1.0])
    assert valid.sum() == 2
    _, _, valid = group_nms([strip(10), strip(5.01)], [2.0, 1.0])
    assert valid.sum() == 1


def test_what_is_suppressed_suppresses_nothing():
    # 10-6 overlap by 0.6 and 6-3.1 by 0.52, but 10-3.1 by 0.31 only.
    boxes, _, valid = group_nms([strip(10), strip(6), strip(3.1)], [3.0, 2.0, 1.0])
    np.testing.assert_allclose(boxes[valid], [strip(10), strip(3.1)])


def test_other_groups_do_not_suppress():
    boxes, _, valid = group_nms([strip(10), strip(9), strip(8)], [1.0, 3.0, 2.0], groups=[0, 1, 1])
    np.testing.assert_array_equal(boxes[valid], [strip(9), strip(10)])


def test_the_best_of_all_groups_remain_in_falling_order():
    boxes = [[0, 20.0 * i, 10, 20 * i + 10] for i in range(6)]
    kept, scores, valid = group_nms(boxes, [1.0, 6.0, 3.0, 4.0, 2.0, 5.0], groups=[0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(scores, [6, 5, 4, 3], atol=1e-5)
    np.testing.assert_array_equal(kept[:, 1], [20, 100, 60, 40])
    assert valid.all()


def test_dropped_candidates_are_never_kept():
    _, _, valid = group_nms([strip(10), [50, 50, 60, 60]], [DROPPED, DROPPED])
    assert not valid.any()


def test_very_low_and_high_logits_keep_their_order():
    boxes = [[0, 20.0 * i, 10, 20 * i + 10] for i in range(4)]
    kept, scores, valid = group_nms(boxes, [-40.0, 90.0, -1e6, 0.0])
    np.testing.assert_array_equal(kept[:, 1], [20, 60, 0, 40])
    np.testing.assert_allclose(scores, [90, 0, -40, -63], atol=1e-4)  # those below -63 count as -63
    assert valid.all()


@pytest.mark.parametrize("count", [0, 1])
def test_few_candidates_are_padded(count):
    boxes, scores, valid = group_nms([strip(10)] * count, [5.0] * count)
    assert boxes.shape == (4, 4) and scores.shape == valid.shape == (4,)
    assert valid.sum() == count
    assert not boxes[count:].any() and not scores[count:].any()


def test_two_images_do_not_meet():
    boxes = tf.constant([[strip(10), strip(9)], [strip(3), [50, 50, 60, 60]]], tf.float32)
    scores = tf.constant([[1.0, 2.0], [1.0, 2.0]])
    kept, _, valid = nms_per_group(
        boxes, scores, tf.constant([0, 0]), num_groups=1, iou_threshold=HALF, max_output=2
    )
    assert valid.numpy().tolist() == [[True, False], [True, True]]
    np.testing.assert_array_equal(kept[0, 0], strip(9))
    np.testing.assert_array_equal(kept[1, 1], strip(3))


def test_classes_do_not_suppress_each_other():
    boxes = [[strip(10), strip(10)], [strip(9), strip(9)]]  # [N, K, 4]
    kept, scores, classes, valid = class_nms(boxes, [[0.9, 0.2], [0.8, 0.7]])
    assert valid.tolist() == [True, True, False, False]
    assert classes.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(scores, [0.9, 0.7, 0, 0])
    np.testing.assert_array_equal(kept[:2], [strip(10), strip(9)])


def test_each_class_has_its_own_box():
    kept, _, classes, _ = class_nms([[strip(10), [20, 20, 30, 30]]], [[0.3, 0.6]])
    np.testing.assert_array_equal(kept[:2], [[20, 20, 30, 30], strip(10)])
    assert classes[:2].tolist() == [1, 0]


def test_scores_must_be_above_the_threshold():
    _, _, _, valid = class_nms([[strip(10)], [[50, 50, 60, 60]]], [[0.5], [0.25]], threshold=0.25)
    assert valid.sum() == 1


def test_only_the_best_detections_remain():
    boxes = [[[0, 20.0 * i, 10, 20 * i + 10]] for i in range(6)]
    _, scores, _, valid = class_nms(boxes, [[0.1], [0.6], [0.3], [0.4], [0.2], [0.5]])
    np.testing.assert_allclose(scores, [0.6, 0.5, 0.4, 0.3])
    assert valid.all()


def test_no_proposals_give_no_detections():
    kept, scores, classes, valid = nms_per_class(
        tf.zeros([2, 0, 3, 4]), tf.zeros([2, 0, 3]), iou_threshold=HALF, score_threshold=0.05, max_output=4
    )
    assert kept.shape == (2, 4, 4) and scores.shape == classes.shape == (2, 4)
    assert not valid.numpy().any()
