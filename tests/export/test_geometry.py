"""Compares the TensorFlow ops of a SavedModel with the Python functions that they replace."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mask_rcnn.config import InputConfig
from mask_rcnn.data.transforms import Resize, input_size
from mask_rcnn.export.image_graph import exif, geometry, keypoints, pillow_resize
from mask_rcnn.export.image_graph.image_files import file_format
from mask_rcnn.postprocessing.keypoint_decode import decode_keypoints

SETTINGS = InputConfig(short_side=80, train_short_sides=(80,), long_side=133)


def frame(original, settings=SETTINGS):
    return geometry.make_frame(tf.constant(original), settings)


@pytest.mark.parametrize("rounding", ["round", "floor", "half_even"])
@pytest.mark.parametrize("upscale_only", [False, True])
def test_resized_sizes_are_those_of_the_predictor(rounding, upscale_only):
    settings = dataclasses.replace(SETTINGS, size_rounding=rounding, upscale_only=upscale_only)
    resized_size = tf.function(lambda size: geometry.resized_size(size, settings))
    for size in np.random.default_rng(0).integers(1, 400, [200, 2], "int32"):
        assert tuple(resized_size(size).numpy()) == input_size(size, settings.short_side, settings), size


def test_frame_pads_to_the_next_multiple():
    # 60 x 90 becomes 80 x 120, in 96 x 128.
    made = frame([60, 90])
    assert made.resized.numpy().tolist() == [80, 120]
    assert made.padded.numpy().tolist() == [96, 128]
    assert made.origin.numpy().tolist() == [0, 0]


def test_frame_may_have_a_fixed_size_with_the_image_in_its_middle():
    made = frame([60, 90], dataclasses.replace(SETTINGS, padded_size=(160, 192), centered=True))
    assert made.padded.numpy().tolist() == [160, 192]
    assert made.origin.numpy().tolist() == [40, 36]


def test_image_info_lists_sizes_scale_and_origin():
    info = geometry.image_info(frame([40, 60])).numpy()
    assert info.tolist() == [[40, 60], [80, 120], [2, 2], [0, 0]]


@pytest.mark.parametrize("inclusive", [False, True])
def test_boxes_come_back_as_parts_of_the_image(inclusive):
    resize = Resize((50, 75), (80, 120), (24, 36))
    random = np.random.default_rng(0)
    boxes = np.sort(random.uniform(0, 150, [20, 2, 2]).astype("float32"), axis=1).reshape(20, 4)
    made = geometry.Frame(*map(tf.constant, (resize.original, resize.resized, (128, 192), resize.origin)))
    parts = geometry.invert_boxes(tf.constant(boxes), made, inclusive).numpy()
    expected = resize.invert_boxes(boxes, inclusive)
    np.testing.assert_allclose(parts * [50, 75, 50, 75], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(33, 40), (80, 120), (61, 93), (1, 1), (200, 301)])
def test_antialiased_resize_is_pillows(size):
    image = np.random.default_rng(0).integers(0, 256, [61, 93, 3]).astype("uint8")
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    resized = pillow_resize.resize_as_pillow(tf.constant(image), tf.constant(size))
    np.testing.assert_array_equal(resized, expected)


def test_preprocess_resizes_as_the_config_says():
    image = np.random.default_rng(0).integers(0, 256, [60, 90, 3]).astype("uint8")
    for method in ("bilinear", "antialiased_uint8", "uint8"):
        settings = dataclasses.replace(SETTINGS, resize=method)
        pixels = geometry.preprocess(tf.constant(image), frame([60, 90]), settings, dtype="float32")
        assert pixels.shape == (96, 128, 3)
        expected = Resize((60, 90), (80, 120)).apply(image, method)
        np.testing.assert_array_equal(pixels[:80, :120], expected)
        np.testing.assert_array_equal(pixels[80:], 0)


def test_cubic_matrix_is_that_of_opencv():
    import cv2

    row = np.random.default_rng(0).normal(size=[1, 7]).astype("float32")
    for outputs in (3, 7, 20):
        expected = cv2.resize(row, (outputs, 1), interpolation=cv2.INTER_CUBIC)[0]
        matrix = keypoints.cubic_matrix(7, tf.constant(outputs)).numpy()
        np.testing.assert_allclose(matrix @ row[0], expected, atol=1e-5)


def test_keypoints_are_those_of_the_predictor():
    random = np.random.default_rng(0)
    heatmaps = random.normal(size=[3, 14, 14, 5]).astype("float32")
    boxes = np.array([[3.2, 4, 40.7, 30], [0, 0, 9, 70], [5, 5, 5, 5]], "float32")  # the last is empty
    found = keypoints.decode_keypoints(tf.constant(heatmaps), tf.constant(boxes)).numpy()
    np.testing.assert_allclose(found, decode_keypoints(heatmaps, boxes), atol=1e-4)


def encoded(orientation, format, **options):
    """Returns a file of 4 x 2 pixels with an EXIF orientation and another tag before it."""
    tags = Image.Exif()
    tags[0x010F] = "a camera's maker, longer than four bytes"
    if orientation is not None:
        tags[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (2, 4)).save(file, format, exif=tags, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_from_jpeg_png_and_webp(format, orientation):
    assert exif.orientation(encoded(orientation, format), format).numpy() == orientation


def test_orientation_is_read_in_either_order_of_bytes():
    contents = encoded(6, "JPEG")
    assert b"Exif\0\0II*\0" in contents or b"Exif\0\0MM\0*" in contents
    little = b"II*\0" + b"\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    big = b"MM\0*" + b"\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    for tiff in (little, big):
        file = io.BytesIO()
        Image.new("RGB", (2, 4)).save(file, "JPEG", exif=b"Exif\0\0" + tiff)
        assert exif.orientation(file.getvalue(), "JPEG").numpy() == 6


@pytest.mark.parametrize(
    "contents",
    [
        encoded(None, "JPEG"),
        encoded(None, "PNG"),
        encoded(9, "JPEG"),
        encoded(0, "PNG"),
        encoded(6, "JPEG")[:40],
        encoded(6, "PNG")[:60],
        b"",
        b"no image",
        b"\xff\xd8\xff\xe1",
        b"\xff\xd8\xff\xe0\0\0",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xf4abcd",  # -12 as a signed integer, an infinite loop over this chunk
    ],
)
def test_what_has_no_orientation_is_upright(contents):
    assert exif.orientation(contents, file_format(contents)).numpy() == 1
