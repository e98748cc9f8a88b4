"""Compares the runner for devices with the functions of the library."""

import numpy as np
import pytest

from mask_rcnn.data.transforms import Resize, resize_image
from mask_rcnn.export.runners import lite_runner
from mask_rcnn.postprocessing.keypoint_decode import decode_keypoints
from mask_rcnn.postprocessing.paste import paste_mask

METADATA = {"size": [64, 96], "resize": "bilinear", "size_rounding": "round", "centered": False}
IMAGE = np.random.default_rng(0).integers(0, 256, [50, 100, 3]).astype("uint8")


def test_letterbox_fits_the_picture_into_the_top_left_corner():
    frame, resized, origin = lite_runner.letterbox(IMAGE, METADATA)
    assert (resized, origin) == ([48, 96], [0, 0])  # 0.96 of 50 x 100
    assert frame.shape == (64, 96, 3) and frame.dtype == np.uint8
    assert not frame[48:].any() and frame[:48].any()


def test_letterbox_of_a_centered_picture():
    frame, resized, origin = lite_runner.letterbox(IMAGE, {**METADATA, "centered": True})
    assert (resized, origin) == ([48, 96], [8, 0])
    assert not frame[:8].any() and not frame[56:].any()


def test_letterbox_of_a_picture_of_8000_pixels():
    frame, resized, _ = lite_runner.letterbox(np.full([10, 8000, 3], 7, "uint8"), METADATA)
    assert resized == [1, 96]
    assert (frame[0] == 7).all()


@pytest.mark.parametrize("method", ["bilinear", "antialiased_uint8", "uint8"])
@pytest.mark.parametrize("size", [(48, 96), (25, 31), (77, 140)])
def test_resize_is_that_of_the_library(method, size):
    expected = resize_image(IMAGE, size, method)
    resized = lite_runner.resize(IMAGE, size, method)
    allowed = {"bilinear": 0.501, "antialiased_uint8": 0, "uint8": 1}[method]  # rounding adds up to 0.5
    assert np.abs(resized - expected).max() <= allowed


@pytest.mark.parametrize(
    "image", [IMAGE[..., 0], IMAGE.astype("float32"), IMAGE[..., :2], np.zeros([0, 5, 3], "uint8")]
)
def test_what_is_no_picture_is_an_error(image):
    with pytest.raises(ValueError, match="must be an RGB array .* Received: shape="):
        lite_runner.letterbox(image, METADATA)


@pytest.mark.parametrize("box", [[0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]])
def test_paste_is_that_of_the_library(box):
    mask = np.random.default_rng(1).uniform(size=[28, 28]).astype("float32")
    box = np.array(box, "float32")
    crop, origin = lite_runner.paste(mask, box, (50, 100))
    expected, expected_origin = paste_mask(mask, box * np.tile([50, 100], 2), (50, 100))
    if expected.size:
        assert origin == tuple(expected_origin)
        np.testing.assert_array_equal(crop, expected)
    assert crop.sum() == expected.sum()


def test_keypoints_are_those_of_the_library():
    rng = np.random.default_rng(2)
    heatmaps = rng.normal(size=[2, 56, 56, 3]).astype("float32")
    boxes = np.array([[3.2, 4.5, 40.1, 30.9], [10, 10, 11, 60]], "float32")
    found = lite_runner.decode_keypoints(heatmaps, boxes)
    np.testing.assert_allclose(found, decode_keypoints(heatmaps, boxes), rtol=1e-4, atol=1e-4)


def test_boxes_that_name_their_last_pixel():
    boxes = np.array([[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [0, 0, 0, 0]], "float32")
    resized, original = [48, 96], np.array([50, 100], "float32")
    expected = Resize((50, 100), (48, 96)).invert_boxes(boxes[:2] * np.tile(resized, 2), inclusive=True)
    found = lite_runner.whole_pixels(boxes, resized, original)
    np.testing.assert_allclose(found[:2] * np.tile(original, 2), expected, atol=1e-4)
    assert not found[2].any()


def test_a_file_without_associated_files_is_an_error(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3")
    with pytest.raises(ValueError, match="its associated files cannot be read: File is not a zip file"):
        lite_runner.Runner(path)
