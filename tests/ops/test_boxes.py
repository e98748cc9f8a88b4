"""Tests of box areas, overlaps, deltas and clipping, with numbers computed by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops

SQUARE = [0, 0, 10, 10]  # area 100


def boxes(*rows):
    return tf.reshape(tf.constant(rows, tf.float32), [-1, 4])


def random_boxes(rng, *shape):
    corners = np.sort(rng.uniform(0, 100, [*shape, 2, 2]), axis=-2)  # [..., (near, far), (y, x)]
    return tf.constant(corners.reshape(*shape, 4), tf.float32)


def test_area_is_height_times_width():
    np.testing.assert_array_equal(box_ops.area(boxes([10, 20, 13, 24], [0, 0, 0, 5])), [12, 0])


def test_an_inverted_box_has_no_area():
    np.testing.assert_array_equal(box_ops.area(boxes([5, 5, 3, 3], [5, 0, 3, 9])), [0, 0])


@pytest.mark.parametrize(
    ("other", "shared", "union"),
    [
        (SQUARE, 100, 100),
        ([0, 5, 10, 15], 50, 150),
        ([5, 5, 15, 15], 25, 175),
        ([2, 2, 4, 7], 10, 100),  # inside
        ([0, 10, 10, 20], 0, 200),  # side by side
        ([20, 20, 30, 30], 0, 200),
        ([3, 3, 3, 9], 0, 100),  # height 0
    ],
)
def test_overlap_of_two_boxes(other, shared, union):
    assert box_ops.intersection(boxes(SQUARE), boxes(other)).numpy() == shared
    np.testing.assert_allclose(box_ops.iou(boxes(SQUARE), boxes(other)), [[shared / union]], rtol=1e-6)


def test_iou_of_two_empty_boxes_is_zero():
    np.testing.assert_array_equal(box_ops.iou(boxes([3, 3, 3, 3]), boxes([3, 3, 3, 3])), [[0]])


def test_iou_has_a_row_for_each_box_and_a_column_for_each_other():
    result = box_ops.iou(boxes(SQUARE, [0, 5, 10, 15]), boxes(SQUARE, [50, 50, 60, 60], [0, 0, 5, 10]))
    np.testing.assert_allclose(result, [[1, 0, 0.5], [1 / 3, 0, 25 / 125]], rtol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_iou_without_boxes_is_empty(n, m):
    assert box_ops.iou(tf.zeros([n, 4]), tf.zeros([m, 4])).shape == (n, m)


def test_iou_of_a_batch_keeps_the_images_apart():
    rng = np.random.default_rng(0)
    left, right = random_boxes(rng, 2, 3), random_boxes(rng, 2, 5)
    result = box_ops.iou(left, right)
    assert result.shape == (2, 3, 5)
    for image in range(2):
        np.testing.assert_allclose(result[image], box_ops.iou(left[image], right[image]), rtol=1e-6)


def test_decode_of_zero_deltas_returns_the_box():
    box = boxes([10, 20, 30, 60])
    np.testing.assert_array_equal(box_ops.decode_deltas(tf.zeros([1, 4]), box), box)


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([0.5, 0, 0, 0], [20, 20, 40, 60]),  # half the height of 20 downwards
        ([0, -0.25, 0, 0], [10, 10, 30, 50]),  # a quarter of the width of 40 to the left
        ([0, 0, math.log(2), 0], [0, 20, 40, 60]),  # twice the height around the same center
        ([0, 0, 0, math.log(0.5)], [10, 30, 30, 50]),
    ],
)
def test_decode_and_encode_by_hand(deltas, expected):
    box = boxes([10, 20, 30, 60])  # 20 high, 40 wide
    np.testing.assert_allclose(box_ops.decode_deltas(boxes(deltas), box), [expected], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(box_ops.encode_deltas(boxes(expected), box), [deltas], rtol=1e-6, atol=1e-6)


def test_weights_multiply_what_is_encoded():
    box, target = boxes([10, 20, 30, 60]), boxes([20, 20, 40, 60])
    deltas = box_ops.encode_deltas(target, box, (10.0, 10.0, 5.0, 5.0))
    np.testing.assert_allclose(deltas, [[5, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(box_ops.decode_deltas(deltas, box, (10.0, 10.0, 5.0, 5.0)), target, rtol=1e-6)


def test_decode_undoes_encode():
    rng = np.random.default_rng(1)
    anchors, targets = random_boxes(rng, 2, 50), random_boxes(rng, 2, 50)
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas = box_ops.encode_deltas(targets, anchors, weights)
    clamped = np.any(deltas[..., 2:] / 5 > box_ops.MAX_LOG_SCALE, axis=-1)
    decoded = box_ops.decode_deltas(deltas, anchors, weights)
    np.testing.assert_allclose(decoded[~clamped], targets[~clamped], atol=2e-3)
    assert not clamped.all()


def test_a_wild_delta_makes_a_box_of_62_and_a_half_times_the_size():
    decoded = box_ops.decode_deltas(boxes([0, 0, 100, 1000]), boxes([-8, -8, 8, 8]))
    np.testing.assert_allclose(decoded, [[-500, -500, 500, 500]], rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 4), (3, 4), (2, 0, 4), (2, 3, 4)])
def test_deltas_keep_the_shape_of_the_boxes(shape):
    zeros = tf.zeros(shape)
    assert box_ops.decode_deltas(zeros, zeros).shape == shape
    assert box_ops.encode_deltas(zeros, zeros).shape == shape


def test_deltas_of_padding_are_finite():
    padding, anchor = boxes([0, 0, 0, 0]), boxes([500, 500, 532, 532])
    for pair in ((padding, anchor), (anchor, padding), (padding, padding)):
        assert np.isfinite(box_ops.encode_deltas(*pair, (10.0, 10.0, 5.0, 5.0))).all()


def test_without_a_clamp_a_box_grows_as_far_as_it_should():
    grown = box_ops.decode_deltas(
        tf.constant([[0.0, 0.0, np.log(100.0), 0.0]]), boxes([0, 0, 16, 16]), clamp=False
    )
    np.testing.assert_allclose(grown, [[8 - 800, 0, 8 + 800, 16]], rtol=1e-5)


def test_a_window_is_at_the_top_left_or_in_the_middle():
    sizes = tf.constant([[50.0, 60.0], [64.0, 33.0]])
    np.testing.assert_array_equal(box_ops.image_windows(sizes), [[0, 0, 50, 60], [0, 0, 64, 33]])
    centered = box_ops.image_windows(sizes, (64, 64), centered=True)
    np.testing.assert_array_equal(centered, [[7, 2, 57, 62], [0, 15, 64, 48]])


def test_windows_of_centered_images_need_the_padded_size():
    with pytest.raises(ValueError, match=r"size of their padding. Received: padded_size=None"):
        box_ops.image_windows(np.ones([1, 2], "float32"), centered=True)


def test_clip_cuts_at_the_borders_of_each_image():
    wide = tf.tile(boxes([-5, -5, 95, 95]), [2, 1])[:, None]  # [2, 1, 4]
    clipped = box_ops.clip(wide, tf.constant([[0.0, 0.0, 50.0, 60.0], [10.0, 0.0, 100.0, 40.0]]))
    np.testing.assert_array_equal(clipped[:, 0], [[0, 0, 50, 60], [10, 0, 95, 40]])


def test_a_box_outside_the_image_becomes_empty():
    clipped = box_ops.clip(boxes([60, 10, 70, 20])[None], tf.constant([[0.0, 0.0, 50.0, 60.0]]))
    np.testing.assert_array_equal(clipped, [[[50, 10, 50, 20]]])
    assert box_ops.area(clipped).numpy() == 0


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_clip_keeps_the_shape(shape):
    assert box_ops.clip(tf.ones(shape), tf.ones([2, 4])).shape == shape


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE, 1),
        ([0, 5, 10, 10], 0.5),  # inside: the enclosing box is the larger box
        ([5, 5, 15, 15], 25 / 175 - 50 / 225),  # a quarter shared; two empty corners of 25
        ([0, 10, 10, 20], 0),  # touching
        ([0, 20, 10, 30], -1 / 3),  # a gap as wide as each box
        ([5, 5, 5, 5], 0),  # empty
    ],
)
def test_generalized_iou_by_hand(other, expected):
    found = box_ops.generalized_iou(boxes(SQUARE), boxes(other))
    np.testing.assert_allclose(found, [expected], atol=1e-6)
    np.testing.assert_allclose(box_ops.generalized_iou(boxes(other), boxes(SQUARE)), found)


def test_generalized_iou_of_two_empty_boxes_is_finite():
    np.testing.assert_array_equal(box_ops.generalized_iou(boxes([3, 3, 3, 3]), boxes([3, 3, 3, 3])), [0])
