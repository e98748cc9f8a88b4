"""Tests of ground-truth masks in the grid of a RoI."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops.masks import crop_masks
from mask_rcnn.targets import mask_targets

FULL = np.ones([8, 8], "uint8")
LEFT = FULL * (np.arange(8) < 4).astype("uint8")  # the left half of its box
BOX = [10.0, 20.0, 26.0, 52.0]  # 16 high, 32 wide


def crop(mask, roi, box=BOX, size=4):
    masks, boxes, rois = tf.constant(mask)[None], tf.constant([box]), tf.constant([roi], tf.float32)
    return crop_masks(masks, boxes, rois, size=size)[0].numpy().astype(int)


def test_a_roi_equal_to_the_box_sees_the_whole_mask():
    np.testing.assert_array_equal(crop(LEFT, BOX), [[1, 1, 0, 0]] * 4)


def test_a_roi_on_the_left_half_is_full():
    np.testing.assert_array_equal(crop(LEFT, [10, 20, 26, 36]), np.ones([4, 4]))


def test_a_roi_on_the_right_half_is_empty():
    np.testing.assert_array_equal(crop(LEFT, [10, 36, 26, 52]), np.zeros([4, 4]))


def test_outside_its_box_a_mask_is_empty():
    roi = [2, 20, 34, 52]  # extends by half of the box's height, above and below
    np.testing.assert_array_equal(crop(FULL, roi), [[0] * 4, [1] * 4, [1] * 4, [0] * 4])


def test_a_roi_beside_the_box_is_empty():
    np.testing.assert_array_equal(crop(FULL, [100, 100, 120, 120]), np.zeros([4, 4]))


@pytest.mark.parametrize(("left", "expected"), [(9, [0, 0, 0, 1]), (10.4, [0, 0, 1, 1])])
def test_a_cell_is_set_where_half_of_it_is_covered(left, expected):
    # The box begins at column 20. It covers a quarter, or 0.6, of the third cell, which has 4 columns.
    np.testing.assert_array_equal(crop(FULL, [10, left, 26, left + 16]), [expected] * 4)


def test_a_large_mask_is_averaged_not_picked():
    stripes = np.tile((np.arange(112) % 4 == 0).astype("uint8"), [112, 1])  # a quarter of the pixels
    np.testing.assert_array_equal(crop(stripes, BOX, size=28), np.zeros([28, 28]))
    np.testing.assert_array_equal(crop(1 - stripes, BOX, size=28), np.ones([28, 28]))


def test_a_disc_keeps_its_area():
    y, x = np.mgrid[:112, :112] + 0.5
    disc = ((y - 56) ** 2 + (x - 56) ** 2 < 50**2).astype("uint8")
    assert crop(disc, BOX, size=28).mean() == pytest.approx(np.pi * 50**2 / 112**2, abs=0.01)


def test_padding_gives_finite_masks():
    result = crop(FULL, [0, 0, 30, 30], box=[0.0, 0.0, 0.0, 0.0])
    assert set(np.unique(result)) <= {0, 1}


def test_no_rois_give_no_masks():
    assert crop_masks(tf.zeros([0, 8, 8], tf.uint8), tf.zeros([0, 4]), tf.zeros([0, 4]), size=4).shape == (
        0,
        4,
        4,
    )


def test_each_roi_gets_the_mask_of_its_object_in_its_image():
    batch = {
        "gt_boxes": tf.constant([[BOX, [60, 60, 80, 80]], [[0, 0, 8, 8], BOX]]),
        "gt_masks": tf.constant([[LEFT, FULL], [FULL, LEFT[:, ::-1]]]),
    }
    rois = tf.constant([[[60, 60, 80, 80], BOX, BOX], [BOX, BOX, [0, 0, 8, 8]]], tf.float32)
    masks = mask_targets(rois, tf.constant([[1, 0, 1], [1, 0, 0]]), batch, size=2)
    assert masks.dtype == tf.float32
    np.testing.assert_array_equal(
        masks,
        [
            [np.ones([2, 2]), [[1, 0], [1, 0]], np.zeros([2, 2])],
            [[[0, 1], [0, 1]], np.zeros([2, 2]), np.ones([2, 2])],
        ],
    )
