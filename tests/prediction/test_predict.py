"""Tests of the predictor: images of any size, and detections in their pixels."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mask_rcnn import config_io
from mask_rcnn.model import build_parts
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category, Detections
from mask_rcnn.weights import save_weights

CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))


@pytest.fixture(scope="module")
def predictor(tiny_parts, tiny_config):
    return Predictor(tiny_parts, tiny_config, CATEGORIES)


def picture(height, width):
    noise = np.random.default_rng(0).integers(0, 256, [height, width, 3])
    return noise.astype("uint8")


def assert_same(one, other, atol=0.0):
    assert one.image_size == other.image_size
    np.testing.assert_array_equal(one.class_ids, other.class_ids)
    np.testing.assert_allclose(one.scores, other.scores, atol=atol)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=atol)
    for mine, its in zip(one.masks, other.masks, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("size", [(120, 180), (64, 96), (97, 41), (20, 300), (1, 1)])
def test_detections_are_in_the_pixels_of_the_image(predictor, size):
    detections = predictor.predict(picture(*size))
    assert isinstance(detections, Detections)
    assert detections.image_size == size
    assert (detections.boxes >= 0).all() and (detections.boxes <= np.tile(size, 2)).all()
    assert set(detections.class_ids) <= {1, 2, 3}
    assert (np.diff(detections.scores) <= 0).all()
    assert len(detections.masks) == len(detections)  # Detections checks that they are inside the image


def test_something_is_found(predictor):
    detections = predictor.predict(picture(64, 96))
    assert 0 < len(detections) <= 8


def test_a_larger_copy_has_the_same_detections_in_larger_pixels(predictor):
    image = picture(8, 12).repeat(8, axis=0).repeat(8, axis=1)  # 64 x 96, the size of the model's input
    larger = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    one, three = predictor.predict(image), predictor.predict(larger)
    np.testing.assert_allclose(three.boxes[0], 3 * one.boxes[0], atol=6)
    assert three.class_ids[0] == one.class_ids[0]


def test_a_path_is_as_good_as_its_pixels(predictor, tmp_path):
    image = picture(50, 70)
    path = tmp_path / "noise.png"
    cv2.imwrite(str(path), image[..., ::-1])
    expected = predictor.predict(image)
    assert_same(predictor.predict(path), expected)
    assert_same(predictor.predict(str(path)), expected)


def test_images_of_other_sizes_in_between_change_nothing(predictor):
    first = predictor.predict(picture(64, 96))
    predictor.predict(picture(96, 64))
    assert_same(predictor.predict(picture(64, 96)), first)


def test_a_file_is_all_that_is_needed(predictor, tiny_parts, tiny_config, tmp_path):
    path = tmp_path / "a.weights.h5"
    save_weights(path, tiny_parts, tiny_config, categories=CATEGORIES)
    loaded = Predictor.load(path)
    assert loaded.categories == CATEGORIES
    assert loaded.config == tiny_config
    image = picture(64, 96)
    assert_same(loaded.predict(image), predictor.predict(image), atol=1e-5)


def test_where_nothing_is_found_there_are_no_detections(tiny_config):
    parts = build_parts(tiny_config)
    parts.box_head.get_layer("class_logits").bias.assign([100.0, 0, 0, 0])  # always background
    detections = Predictor(parts, tiny_config, CATEGORIES).predict(picture(30, 40))
    assert len(detections) == 0
    assert detections.masks == ()
    assert detections.boxes.shape == (0, 4)


ENORMOUS = np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20, 3))


@pytest.mark.parametrize(
    ("image", "received", "advice"),
    [
        (np.zeros([4, 4], "uint8"), r"shape=\(4, 4\)", "np.stack"),
        (np.zeros([4, 4, 1], "uint8"), r"shape=\(4, 4, 1\)", "np.stack"),
        (np.zeros([4, 4, 4], "uint8"), r"shape=\(4, 4, 4\)", r"image\[..., :3\]"),
        (np.zeros([3, 8, 9], "uint8"), r"shape=\(3, 8, 9\)", "transpose"),
        (np.full([4, 4, 3], 0.5, "float32"), "dtype=float32", r"image \* 255"),
        (np.full([4, 4, 3], 200, "float64"), "dtype=float64", "0..255: image.round"),
        (np.full([4, 4, 3], np.nan, "float32"), "dtype=float32", "NaN"),
        (np.zeros([4, 4, 3], "uint16"), "dtype=uint16", "upper 8 bits"),
        (np.zeros([4, 4, 3], "int64"), "dtype=int64", "astype"),
        (np.zeros([4, 4, 3], bool), "dtype=bool", "astype"),
        (np.zeros([0, 4, 3], "uint8"), r"shape=\(0, 4, 3\)", "no pixels"),
        (np.zeros([1, 4, 4, 3], "uint8"), r"shape=\(1, 4, 4, 3\)", "not a batch"),
        (["a.jpg", "b.jpg"], r"shape=\(2,\)", "a list of them"),
        (None, r"shape=\(\)", "Give one image"),
        (ENORMOUS, r"shape=\(1048576, 1048576, 3\)", "tiles"),
    ],
)
def test_what_is_no_rgb_image_is_refused_with_what_to_do(predictor, image, received, advice):
    message = f"must be an RGB array.*Received: .*{received}.*{advice}.*read_image"
    with pytest.raises(ValueError, match=message):
        predictor.predict(image)


def test_a_missing_image_is_named(predictor, tmp_path):
    with pytest.raises((FileNotFoundError, ValueError), match="absent.jpg"):
        predictor.predict(tmp_path / "absent.jpg")


def test_each_class_needs_a_category(tiny_parts, tiny_config):
    with pytest.raises(ValueError, match="Received: 2 categories, num_classes=3"):
        Predictor(tiny_parts, tiny_config, CATEGORIES[:2])


def test_image_files_are_limited_as_in_training(tiny_parts, tiny_config, tmp_path):
    Image.fromarray(picture(30, 40)).save(tmp_path / "large.png")
    limited = config_io.override_all(tiny_config, {"data.max_pixels": 1199})
    with pytest.raises(ValueError, match="1199"):
        Predictor(tiny_parts, limited, CATEGORIES).predict(tmp_path / "large.png")
