"""Tests of anchor boxes: base anchors, and their positions on the grid."""

import numpy as np
import pytest

from mask_rcnn.ops.anchors import base_anchors, grid_anchors


def test_a_square_anchor_is_centered_on_the_origin():
    np.testing.assert_array_equal(base_anchors(32, (1.0,)), [[-16, -16, 16, 16]])


def test_a_ratio_is_height_over_width_at_the_same_area():
    anchors = base_anchors(32, (0.25, 4.0))
    np.testing.assert_allclose(anchors, [[-8, -32, 8, 32], [-32, -8, 32, 8]], rtol=1e-6)


def test_rounded_anchors_are_those_of_torchvision():
    anchors = base_anchors(
        32, (0.5, 1.0, 2.0), rounded=True
    )  # 32 sqrt(0.5) / 2 = 11.3, 32 sqrt(2) / 2 = 22.6
    np.testing.assert_array_equal(anchors, [[-11, -23, 11, 23], [-16, -16, 16, 16], [-23, -11, 23, 11]])


def test_base_anchors_are_float32():
    assert base_anchors(32, (0.5, 1.0)).dtype == "float32"


def test_the_grid_goes_by_rows_then_columns_then_ratios():
    base = np.array([[-1, -2, 1, 2], [-2, -1, 2, 1]], "float32")
    anchors = grid_anchors((2, 2), (4, 8), base)
    expected = [
        [-1, -2, 1, 2],
        [-2, -1, 2, 1],
        [-1, 6, 1, 10],  # next column, 8 pixels
        [-2, 7, 2, 9],
        [3, -2, 5, 2],  # next row, 4 pixels
        [2, -1, 6, 1],
        [3, 6, 5, 10],
        [2, 7, 6, 9],
    ]
    np.testing.assert_array_equal(anchors, expected)


@pytest.mark.parametrize(("map_size", "count"), [((0, 5), 0), ((1, 1), 3), ((3, 5), 45)])
def test_each_cell_has_all_base_anchors(map_size, count):
    assert grid_anchors(map_size, (4, 4), base_anchors(8, (0.5, 1.0, 2.0))).shape == (count, 4)
