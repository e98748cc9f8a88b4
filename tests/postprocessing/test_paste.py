import tracemalloc

import numpy as np
import pytest
from locations import GOLDEN

from mask_rcnn.postprocessing.paste import METHODS, paste_mask, paste_masks
from mask_rcnn.structures import Detections

IMAGE_SIZE = (427, 640)


def full(crop, origin, image_size):
    mask = np.zeros(image_size, bool)
    mask[origin[0] : origin[0] + crop.shape[0], origin[1] : origin[1] + crop.shape[1]] = crop
    return mask


def test_each_pixel_of_a_box_of_the_grids_size_gets_its_own_probability():
    mask = np.array([[0.9, 0.1, 0.6], [0.4, 0.5, 0.0], [0.0, 1.0, 0.49]])
    crop, origin = paste_mask(mask, [10, 20, 13, 23], (40, 40))
    assert origin == (10, 20)
    np.testing.assert_array_equal(crop, mask >= 0.5)


def test_a_pixel_between_two_grid_points_gets_their_mean():
    # The box is shifted down by half a pixel, so each pixel covers half of two rows of the grid.
    mask = np.array([[1.0], [0.0], [0.98], [0.0]]) * np.ones((1, 4))
    crop, origin = paste_mask(mask, [0.5, 0, 4.5, 4], (8, 4))
    assert origin == (0, 0)
    assert crop[:, 0].tolist() == [True, True, False, False, False]


def test_padded_resize_fades_to_zero_outside_of_the_box():
    # 2 x 2 ones become 4 x 4 with a border of zeros; the box of 8 becomes one of 16 and 17 pixels wide.
    crop, origin = paste_mask(np.ones((2, 2)), [8, 8, 16, 16], (24, 24), method="padded_resize")
    assert origin == (4, 4)
    assert crop.shape == (17, 17)
    # Pixel p reads the grid at (p + 0.5) * 4 / 17 - 0.5; it is half way up at 0.5 and half way down at 2.5.
    assert np.flatnonzero(crop[8]).tolist() == list(range(4, 13))


@pytest.mark.parametrize("peer", ["torchvision", "detectron2"])
def test_masks_equal_those_of_the_peer_in_every_pixel(peer):
    golden = np.load(GOLDEN / "paste.npz")
    method = {"torchvision": "padded_resize", "detectron2": "pixel_centers"}[peer]
    probabilities = 1 / (1 + np.exp(-golden[f"{peer}.logits"]))
    crops, origins = paste_masks(probabilities, golden[f"{peer}.boxes"], IMAGE_SIZE, method=method)
    expected = np.unpackbits(golden[f"{peer}.packed"], axis=-1, count=IMAGE_SIZE[1]).astype(bool)
    for crop, origin, theirs in zip(crops, origins, expected, strict=True):
        np.testing.assert_array_equal(full(crop, origin, IMAGE_SIZE), theirs)


@pytest.mark.parametrize("method", METHODS)
def test_a_box_beyond_the_image_is_cut_off(method):
    box, ones = [-20, -20, 20, 20], np.ones((4, 4))
    crop, origin = paste_mask(ones, box, (8, 6), method=method)
    assert origin == (0, 0)
    assert crop.shape == (8, 6) and crop.all()
    crop, _ = paste_mask(ones, [50, 50, 60, 60], (8, 6), method=method)
    assert crop.size == 0


def test_a_rounded_box_is_of_whole_pixels_and_blends_the_border_with_nothing():
    mask = np.array([[0.9, 0.9], [0.9, 0.4]])
    # Four pixels from two: at -0.25, 0.25, 0.75, 1.25 of the grid. 0.75 * 0.75 * 0.9 = 0.506 in a corner;
    # 0.75 * (0.25 * 0.9 + 0.75 * 0.4) = 0.394 on the right side, below the middle.
    crop, origin = paste_mask(mask, [1.6, 2.5, 6.4, 5.6], (8, 8), method="rounded_box")  # 2, 2 to 6, 6
    assert origin == (2, 2)
    np.testing.assert_array_equal(crop, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])


def test_a_mask_that_is_all_object_fills_its_rounded_box():
    crop, _ = paste_mask(
        np.full((2, 2), 0.6), [2, 2, 6, 6], (8, 8), method="rounded_box"
    )  # 0.75 * 0.6 = 0.45
    assert crop.shape == (4, 4) and crop.all()


def test_an_empty_box_has_no_pixels():
    crop, _ = paste_mask(np.ones((4, 4)), [3, 3, 3, 3], (8, 6), method="pixel_centers")
    assert crop.size == 0


@pytest.mark.parametrize("method", METHODS)
def test_crops_fit_into_detections(method):
    random = np.random.default_rng(0)
    corners = random.uniform(-20, 60, (50, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=-1)
    crops, origins = paste_masks(random.random((50, 5, 5)), boxes, (40, 30), method=method)
    Detections(boxes, np.ones(50), np.ones(50), (40, 30), masks=crops, mask_origins=origins)


def test_no_detections():
    crops, origins = paste_masks(np.zeros((0, 28, 28)), np.zeros((0, 4)), (40, 30))
    assert crops == () and origins.shape == (0, 2) and origins.dtype == np.int32


def test_a_large_image_never_becomes_an_array_of_floats():
    tracemalloc.start()
    crop, _ = paste_mask(np.ones((28, 28)), [0, 0, 4000, 5000], (4000, 5000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert crop.nbytes == 20_000_000
    assert peak < crop.nbytes + 10_000_000


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="Received: method='nearest'"):
        paste_mask(np.ones((4, 4)), [0, 0, 1, 1], (8, 6), method="nearest")


def test_masks_of_all_classes_are_refused():
    with pytest.raises(ValueError, match="Received: mask of shape"):
        paste_mask(np.ones((28, 28, 80)), [0, 0, 1, 1], (8, 6))
