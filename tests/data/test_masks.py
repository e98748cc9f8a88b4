import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mask_rcnn.data.masks import full_mask, mask_in_box, run_lengths


def as_rle(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, dtype="uint8"))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def test_run_lengths_go_down_the_columns():
    mask = np.array([[0, 1], [1, 1], [0, 0]], bool)  # columns 010 and 110
    np.testing.assert_array_equal(run_lengths(as_rle(mask)["counts"]), [1, 1, 1, 2, 1])


def test_run_lengths_of_a_list_are_the_list():
    np.testing.assert_array_equal(run_lengths([3, 2, 1]), [3, 2, 1])


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_run_length_mask_is_the_one_pycocotools_encoded(share):
    mask = np.random.default_rng(0).random((37, 211)) < share
    np.testing.assert_array_equal(full_mask(as_rle(mask), 37, 211), mask)


def test_polygons_become_pixels_as_in_the_evaluation():
    polygons = [[1, 1, 5, 1, 5, 3, 1, 3], [0, 4, 2, 4, 2, 6, 0, 6]]
    expected = np.zeros((6, 8), bool)
    expected[1:3, 1:5] = True
    expected[4:6, 0:2] = True
    np.testing.assert_array_equal(full_mask(polygons, 6, 8), expected)


def test_a_rectangle_fills_the_grid_of_its_box():
    polygon = [[10.5, 20.25, 30.5, 20.25, 30.5, 25.75, 10.5, 25.75]]
    assert mask_in_box(polygon, (20.25, 10.5, 25.75, 30.5), 112).all()


def test_each_pixel_of_a_tiny_mask_covers_its_share_of_the_grid():
    mask = np.zeros((50, 60), bool)
    mask[10, 20] = mask[11, 20] = mask[11, 21] = True
    np.testing.assert_array_equal(
        mask_in_box(as_rle(mask), (10, 20, 12, 22), 4),
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]],
    )


def test_the_grid_of_a_large_mask_takes_the_pixel_under_each_center():
    mask = np.random.default_rng(0).random((40, 80)) < 0.5
    np.testing.assert_array_equal(mask_in_box(as_rle(mask), (0, 0, 40, 80), 8), mask[2::5, 5::10])


def test_a_box_at_the_far_corner_stays_in_the_image():
    mask = np.zeros((7, 9), bool)
    mask[6, 8] = True
    assert mask_in_box(as_rle(mask), (6, 8, 7, 9), 112).all()


def test_polygon_and_run_lengths_of_a_disc_agree():
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    disc = [np.stack([60 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)], axis=-1).ravel().tolist()]
    box = (10.0, 20.0, 90.0, 100.0)
    from_polygon = mask_in_box(disc, box, 112)
    from_rle = mask_in_box(as_rle(full_mask(disc, 100, 120)), box, 112)
    assert (from_polygon & from_rle).sum() / (from_polygon | from_rle).sum() > 0.98
    np.testing.assert_allclose(from_polygon.mean(), np.pi / 4, atol=0.01)
