"""Tests of 16-bit images that use 12 bits: the warnings, and that training uses all 12."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.config import Config, InputConfig
from mask_rcnn.data.bit_depth import bit_depth_warning, check_bit_depth
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord
from mask_rcnn.data_check.check import check_dataset
from mask_rcnn.structures import Category


@pytest.fixture
def camera(tmp_path):
    """Three images of 16 bits, two of which use 12, and one of 8 bits."""
    records = []
    for number, (dtype, largest) in enumerate(
        [("uint16", 4095), ("uint16", 2900), ("uint16", 65535), ("uint8", 9)]
    ):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((64, 96), largest, dtype)).save(path)
        annotation = Annotation(number, 1, (10, 20, 40, 60), 1200, segmentation=[[20, 10, 60, 10, 60, 40]])
        records.append(ImageRecord(number, path, 64, 96, (annotation,), bits=np.dtype(dtype).itemsize * 8))
    return Dataset("camera", (Category(1, "cell"),), tuple(records))


def test_a_check_reports_images_that_use_few_of_their_bits(camera):
    findings = check_dataset(camera, Config()).findings
    (found,) = [each for each in findings if each.kind == "unused_bits"]
    sentence = r"2 of 3 images with 16 bits per sample use at most 12 .*0\.png.*=12"
    assert re.match(sentence, found.examples[0].text)


def test_the_whole_range_is_no_reason_for_a_warning(camera):
    whole = dataclasses.replace(camera, images=camera.images[2:])
    assert check_bit_depth(whole) is None


def test_a_declared_depth_ends_the_warning_and_is_checked(camera):
    dark = dataclasses.replace(camera, images=camera.images[:2])
    assert check_bit_depth(dark, 12) is None
    with pytest.raises(ValueError, match=r"2\.png.*sample of 65535, where 12 bits"):
        check_bit_depth(camera, 12)


@pytest.mark.parametrize(("bits", "likely"), [(3, 8), (9, 10), (12, 12), (13, 14)])
def test_the_depth_of_a_camera_is_proposed(bits, likely):
    assert f"input.bit_depth={likely}." in bit_depth_warning({"a.png": bits, "b.png": 16})


@pytest.mark.parametrize(("bit_depth", "brightest"), [(None, 15), (12, 255)])
def test_training_images_have_the_declared_range(camera, tiny_config, bit_depth, brightest):
    dark = dataclasses.replace(camera, images=camera.images[:1])
    config = dataclasses.replace(
        tiny_config,
        num_classes=1,
        input=dataclasses.replace(tiny_config.input, bit_depth=bit_depth),
        train=dataclasses.replace(tiny_config.train, batch_size=1, steps=1),
    )
    images = next(iter(training_dataset(dark, config)))["images"]
    assert images.numpy().max() == brightest


@pytest.mark.parametrize("bit_depth", [0, 7, 17])
def test_the_declared_depth_has_a_range(bit_depth):
    with pytest.raises(ValueError, match=r"input\.bit_depth"):
        Config(input=InputConfig(bit_depth=bit_depth))
