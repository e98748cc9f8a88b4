"""Tests of images that pass the check at the start of a run and turn out to be damaged later."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.config import Config, DataConfig, InputConfig, TrainConfig
from mask_rcnn.data.input_pipeline.bad_images import BadImages
from mask_rcnn.data.input_pipeline.pipeline import images_of_step, training_dataset
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes

CONFIG = Config(
    input=InputConfig(short_side=32, train_short_sides=(32,), long_side=64, max_instances=6),
    data=DataConfig(max_bad_images=0.3),
    mask_head=None,
    train=TrainConfig(batch_size=2, reference_batch_size=2, steps=12, seed=5),
)


@pytest.fixture
def shapes(tmp_path):
    return read_coco(*write_shapes(tmp_path, 8, (32, 48), seed=1))


def damage(path):
    """Overwrites the middle of a PNG file. Its header and its last bytes stay."""
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = b"\x00" * third
    path.write_bytes(content)


def remove(path):
    path.unlink()


def resize(path):
    Image.new("RGB", (10, 10)).save(path)


def batches(dataset, config=CONFIG, first_step=0, bad_images=None):
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in training_dataset(dataset, config, first_step, bad_images=bad_images)
    ]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("spoil", [damage, remove, resize])
def test_training_goes_on_with_another_image_and_reports_it_once(shapes, spoil, caplog):
    whole = batches(shapes)
    path = shapes.images[2].path
    spoil(path)
    bad_images = BadImages(shapes, CONFIG)
    with caplog.at_level("WARNING"):
        found = batches(shapes, bad_images=bad_images)
    (message,) = [each for each in caplog.messages if "replaced" in each]
    assert str(path) in message
    assert list(bad_images.reasons) == [2]
    used = [images_of_step(shapes, CONFIG, step, bad_images=bad_images) for step in range(12)]
    planned = [images_of_step(shapes, CONFIG, step) for step in range(12)]
    assert sum(record.path == path for batch in planned for record in batch) == 3  # epochs
    for batch, before, records, wanted in zip(found, whole, used, planned, strict=True):
        assert records[0] != records[1]
        for place in range(2):
            assert records[place].path != path
            if records[place] == wanted[place]:
                np.testing.assert_array_equal(batch["images"][place], before["images"][place])
            count = np.count_nonzero(batch["gt_class_ids"][place])
            assert count == len(records[place].annotations)


def test_a_resumed_run_replaces_bad_images_by_the_same_ones(shapes):
    damage(shapes.images[0].path)
    remove(shapes.images[5].path)
    whole = batches(shapes)
    for first_step in (3, 7, 11):
        assert_equal(batches(shapes, first_step=first_step), whole[first_step:])


def test_too_many_bad_images_end_the_run_with_one_error_that_lists_them(shapes):
    for index in (2, 4, 6):
        damage(shapes.images[index].path)
    with pytest.raises(ValueError) as caught, BadImages(shapes, CONFIG) as bad_images:
        batches(shapes, bad_images=bad_images)
    message = str(caught.value)
    assert "at most 30.0%" in message and "3 of 8" in message and "`data.max_bad_images`" in message
    for index in (2, 4, 6):
        assert message.count(str(shapes.images[index].path)) == 1
    assert "Traceback" not in message


def test_a_data_set_of_bad_images_only_ends_the_run(shapes):
    for image in shapes.images:
        remove(image.path)
    config = dataclasses.replace(CONFIG, data=DataConfig(max_bad_images=1.0))
    with pytest.raises(ValueError, match="8 of 8"), BadImages(shapes, config) as bad_images:
        batches(shapes, config, bad_images=bad_images)


def test_images_that_the_reader_left_out_count_too(shapes):
    damage(shapes.images[2].path)
    dataset = dataclasses.replace(shapes, num_left_out=2)
    config = dataclasses.replace(CONFIG, data=DataConfig(max_bad_images=0.25))
    with pytest.raises(ValueError, match="3 of 10; 1 found"), BadImages(dataset, config) as bad_images:
        batches(dataset, config, bad_images=bad_images)


def test_other_errors_pass_through(shapes):
    with pytest.raises(RuntimeError, match="other"), BadImages(shapes, CONFIG):
        raise RuntimeError("other")


def test_none_may_be_bad_by_default_in_a_small_data_set(shapes):
    damage(shapes.images[2].path)
    config = dataclasses.replace(CONFIG, data=DataConfig())
    expected = re.escape("1 of 8")
    with pytest.raises(ValueError, match=expected), BadImages(shapes, config) as bad_images:
        batches(shapes, config, bad_images=bad_images)
