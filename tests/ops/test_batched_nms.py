"""Compares the NMS for GPUs with TensorFlow's CPU kernel."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import batched_nms
from mask_rcnn.ops.batched_nms import combined_nms


def tensorflow_nms(boxes, scores, iou_threshold, score_threshold, max_output):
    return tf.image.combined_non_max_suppression(
        boxes, scores, max_output, max_output, iou_threshold, score_threshold, clip_boxes=False
    )


def random_boxes(rng, shape, side=100):
    corners = rng.uniform(0, side, [*shape, 2])
    return np.concatenate([corners, corners + rng.uniform(0, side / 2, [*shape, 2])], axis=-1).astype("f")


def by_position(boxes, scores, iou_threshold, score_threshold, max_output):
    return combined_nms(
        boxes,
        scores,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_output=max_output,
    )


def assert_equal_results(arguments):
    for nms in (by_position, tf.function(by_position)):
        for found, expected in zip(nms(*arguments), tensorflow_nms(*arguments), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("block", [1, 7, 64, 512])
@pytest.mark.parametrize("boxes_per_class", [1, 3])
@pytest.mark.parametrize("max_output", [5, 200])
def test_boxes_are_those_of_the_cpu_kernel(block, boxes_per_class, max_output, monkeypatch):
    monkeypatch.setattr(batched_nms, "BLOCK", block)
    rng = np.random.default_rng(block)
    boxes = random_boxes(rng, [2, 90, boxes_per_class])
    scores = rng.permutation(2 * 90 * 3).reshape(2, 90, 3).astype("f") / 540  # all different
    assert_equal_results((boxes, scores, 0.5, 0.3, max_output))


def test_images_of_which_one_has_few_candidates():
    rng = np.random.default_rng(0)
    scores = rng.permutation(2000).reshape(2, 1000, 1).astype("f") / 2000
    scores[1, 3:] = 0.0
    assert_equal_results((random_boxes(rng, [2, 1000, 1], 1000), scores, 0.7, 0.0, 300))


def test_a_chain_in_which_every_second_box_remains():
    boxes = [[0.0, 6.0 * i, 10.0, 6.0 * i + 10] for i in range(40)]  # neighbors have an IoU of 0.25
    scores = np.linspace(1, 0.5, 40, dtype="f")[None, :, None]
    arguments = (np.array(boxes, "f")[None, :, None], scores, 0.2, 0.1, 40)
    assert_equal_results(arguments)
    assert by_position(*arguments)[3][0] == 20


def test_of_equal_scores_the_first_box_is_kept_and_comes_first():
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [0, 0, 10, 8]]
    kept, scores, _, count = combined_nms(
        np.array(boxes, "f")[None, :, None],
        tf.ones([1, 4, 1]),
        iou_threshold=0.5,
        score_threshold=0.0,
        max_output=3,
    )
    np.testing.assert_array_equal(kept[0], [boxes[0], boxes[2], [0] * 4])
    assert count[0] == 2 and scores.numpy().tolist() == [[1.0, 1.0, 0.0]]


def test_equal_scores_of_boxes_that_do_not_overlap_are_all_kept_as_by_the_cpu_kernel():
    boxes = np.array([[0.0, 20.0 * i, 10, 20.0 * i + 10] for i in range(100)], "f")
    scores = np.repeat([0.9, 0.5], 50).astype("f")
    arguments = (boxes[None, :, None], scores[None, :, None], 0.5, 0.0, 100)
    found, expected = ([*map(np.asarray, nms(*arguments))] for nms in (by_position, tensorflow_nms))
    np.testing.assert_array_equal(found[1], expected[1])
    # The CPU kernel returns equal scores in the order of its heap.
    for half in (slice(0, 50), slice(50, 100)):
        np.testing.assert_array_equal(*(np.sort(boxes[0, half, 1]) for boxes in (found[0], expected[0])))
