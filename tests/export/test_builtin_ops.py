"""Compares the ops of small runtimes with TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.export.writers import builtin_ops
from mask_rcnn.ops import anchors, nms
from mask_rcnn.ops.roi_align import pyramid_levels, pyramid_roi_align
from mask_rcnn.ops.roi_pool import pyramid_roi_pool

STRIDES = (4, 8)


def random_boxes(rng, count, side=64.0):
    corners = np.sort(rng.uniform(0, side, [count, 2, 2]), axis=1)  # [N, 2, yx]
    return corners.reshape(1, count, 4).astype("float32")


@pytest.mark.parametrize("num_groups", [1, 2, 5])
def test_nms_per_group_gives_what_the_combined_op_gives(num_groups):
    rng = np.random.default_rng(num_groups)
    boxes, scores = random_boxes(rng, 60), rng.normal(size=[1, 60]).astype("float32")
    groups = tf.constant(rng.integers(0, num_groups, 60), tf.int32)
    scores[0, :3] = nms.DROPPED
    arguments = (boxes, scores, groups)
    limits = {"num_groups": num_groups, "iou_threshold": 0.3, "max_output": 20}
    for ours, expected in zip(
        builtin_ops.nms_per_group(*arguments, **limits), nms.nms_per_group(*arguments, **limits), strict=True
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_nms_per_group_of_nothing_is_all_filling():
    scores = np.full([1, 4], nms.DROPPED, "float32")
    boxes, scores, valid = builtin_ops.nms_per_group(
        np.ones([1, 4, 4], "float32"),
        scores,
        tf.zeros(4, tf.int32),
        num_groups=2,
        iou_threshold=0.5,
        max_output=3,
    )
    assert not np.any(valid) and not np.any(boxes) and not np.any(scores)
    assert boxes.shape == (1, 3, 4)


@pytest.mark.parametrize(("num_classes", "num_boxes"), [(1, 1), (3, 3), (10, 10), (3, 1)])
def test_nms_per_class_gives_what_the_combined_op_gives(num_classes, num_boxes):
    rng = np.random.default_rng(num_classes)
    boxes = random_boxes(rng, 30 * num_boxes).reshape(1, 30, num_boxes, 4)
    scores = rng.uniform(size=[1, 30, num_classes]).astype("float32")
    limits = {"iou_threshold": 0.3, "score_threshold": 0.2, "max_output": 12}
    for ours, expected in zip(
        builtin_ops.nms_per_class(boxes, scores, **limits),
        nms.nms_per_class(boxes, scores, **limits),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 0])
def test_roi_align_gives_what_crop_and_resize_gives(sampling_ratio, aligned):
    rng = np.random.default_rng(0)
    pyramid = [rng.normal(size=[1, 96 // stride, 128 // stride, 3]).astype("float32") for stride in STRIDES]
    boxes = random_boxes(rng, 20, 96.0)
    boxes[0, 0] = [0, 0, 96, 128]  # the whole image
    boxes[0, 1] = [90, 120, 99, 135]  # extends beyond the image
    boxes[0, 2] = 5.0  # empty
    levels = pyramid_levels(boxes, 2, offset=2.0)  # both levels are in use
    assert set(np.unique(levels)) == {0, 1}
    settings = {"strides": STRIDES, "pool_size": 7, "sampling_ratio": sampling_ratio, "aligned": aligned}
    actual = builtin_ops.pyramid_roi_align(pyramid, boxes, levels, **settings)
    expected = pyramid_roi_align(pyramid, boxes, levels, **settings)
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("pool_size", [1, 3, 7])
def test_roi_pool_finds_the_same_maxima(pool_size):
    rng = np.random.default_rng(0)
    pyramid = [rng.normal(size=[1, 96 // stride, 128 // stride, 3]).astype("float32") for stride in STRIDES]
    boxes = random_boxes(rng, 200, 140.0) - 20.0  # many extend beyond the image
    boxes[0, :50] = np.round(boxes[0, :50] / 2) * 2  # half pixels of the map are rounded away from zero
    special = [[0, 0, 96, 128], [-90, -90, -20, -20], [200, 200, 300, 300], [5, 5, 5, 5], [0, 0, 0, 0]]
    boxes[0, -5:] = special
    levels = pyramid_levels(boxes, 2, offset=2.0)
    assert set(np.unique(levels)) == {0, 1}
    settings = {"strides": STRIDES, "pool_size": pool_size}
    expected = tf.function(pyramid_roi_pool, autograph=False)(
        pyramid, boxes, levels, **settings
    )  # in eager mode each RoI takes milliseconds
    assert not np.any(expected[0, -3]) and np.all(expected[0, -2])  # outside, and one pixel
    np.testing.assert_array_equal(builtin_ops.pyramid_roi_pool(pyramid, boxes, levels, **settings), expected)


def test_adaptive_samples_are_bounded():
    features = np.arange(40 * 40, dtype="float32").reshape(1, 40, 40, 1)
    box = np.array([[[0, 0, 40, 40]]], "float32")
    # 40 samples per bin and axis would be exact. For a linear map, four have the same mean.
    pooled = builtin_ops.pyramid_roi_align(
        [features], box, np.zeros([1, 1], "int32"), strides=(1,), pool_size=1, sampling_ratio=0
    )
    np.testing.assert_allclose(np.squeeze(pooled), features.mean(), rtol=1e-6)


def test_anchors_are_those_of_the_training():
    base = anchors.base_anchors((8, 16), (0.5, 1.0))
    arguments = ((3, 5), (4, 8), base)
    ours = builtin_ops.grid_anchors(*arguments, zero=tf.constant(0.0))
    np.testing.assert_array_equal(ours, anchors.grid_anchors(*arguments))
