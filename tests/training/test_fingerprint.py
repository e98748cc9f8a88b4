"""Tests that a run is resumed only with the data and the config that it began with."""

import dataclasses
import json
import operator
import shutil

import pytest
from small_coco import read_small_coco

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.training.fingerprint import RESUMABLE_FIELDS, check_fingerprint, fingerprint

CONFIG = Config(num_classes=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    read_small_coco(folder)
    return folder


def read(folder, change=lambda content: None):
    """Reads the annotations in `folder` after a change of their content."""
    content = json.loads((folder / "instances.json").read_text())
    change(content)
    path = folder / "changed.json"
    path.write_text(json.dumps(content))
    return read_coco(path, folder)


def through_json(mark):
    return json.loads(json.dumps(mark))


@pytest.mark.parametrize(
    "field, value",
    [
        ("train.steps", 200),
        ("train.learning_rate", 0.001),
        ("data.workers", 1),
        ("train.evaluate_every", 0),
        ("box_head.score_threshold", 0.3),
    ],
)
def test_what_does_not_change_the_steps_that_are_done_may_change(folder, field, value):
    dataset = read(folder)
    changed = config_io.override_all(CONFIG, {field: value})
    check_fingerprint(through_json(fingerprint(CONFIG, dataset)), fingerprint(changed, dataset))


@pytest.mark.parametrize(
    "field, value",
    [
        ("train.batch_size", 4),
        ("train.seed", 3),
        ("input.horizontal_flip", 0.0),
        ("fpn.channels", 128),
        ("box_head.samples", 256),
        ("train.loss_normalization", "image"),
        ("data.shapes_train", 20),
    ],
)
def test_another_config_is_an_error_that_names_the_field_and_both_values(folder, field, value):
    dataset = read(folder)
    before = operator.attrgetter(field)(CONFIG)
    changed = config_io.override_all(CONFIG, {field: value})
    with pytest.raises(ValueError, match=rf"{field}: {before} -> {value}\n"):
        check_fingerprint(through_json(fingerprint(CONFIG, dataset)), fingerprint(changed, dataset))


def move_a_box(content):
    content["annotations"][0]["bbox"][2] -= 1


def move_a_point(content):
    content["annotations"][0]["segmentation"][0][4] += 0.25  # box and area are unchanged


def lengthen_a_run(content):
    counts = content["annotations"][1]["segmentation"]["counts"]
    counts[1], counts[2] = counts[1] + 1, counts[2] - 1


def move_a_keypoint(content):
    content["annotations"][0]["keypoints"][0] += 1


def rename(content):
    content["images"][0]["file_name"], content["images"][3]["file_name"] = "0.png", "3.png"
    content["images"][0]["id"] = 77
    for one in content["annotations"]:
        if one["image_id"] == 0:
            one["image_id"] = 77


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda content: content["annotations"].pop(), "6 images, 30 objects -> 6 images, 29 objects"),
        (move_a_box, "6 images, 30 objects -> 6 images, 30 objects with other names or annotations"),
        (move_a_point, "with other names or annotations"),
        (lengthen_a_run, "with other names or annotations"),
        (move_a_keypoint, "with other names or annotations"),
        (rename, "with other names or annotations"),
        (lambda content: content["images"].reverse(), "with other names or annotations"),
    ],
)
def test_other_data_are_an_error_that_says_how_they_differ(folder, change, expected):
    saved = through_json(fingerprint(CONFIG, read(folder)))
    with pytest.raises(ValueError, match=expected):
        check_fingerprint(saved, fingerprint(CONFIG, read(folder, change)))


def test_the_folder_of_the_data_may_be_another_one(folder, tmp_path):
    saved = through_json(fingerprint(CONFIG, read(folder)))
    shutil.copytree(folder, tmp_path / "moved")
    check_fingerprint(saved, fingerprint(CONFIG, read(tmp_path / "moved")))


@pytest.mark.parametrize("saved", [None, 3, {}, {"config": "train: {}"}])
def test_a_checkpoint_without_a_fingerprint_is_an_error(folder, saved):
    with pytest.raises(ValueError, match="must hold its config and a digest of its data"):
        check_fingerprint(saved, fingerprint(CONFIG, read(folder)))


def test_every_field_that_may_change_exists():
    names = {
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(CONFIG)
        if dataclasses.is_dataclass(getattr(CONFIG, section.name))
        for field in dataclasses.fields(getattr(CONFIG, section.name))
    }
    for field in RESUMABLE_FIELDS:
        assert any(name.startswith(field) if field.endswith(".") else name == field for name in names), field


def test_equal_records_made_in_python_are_equal_data(folder):
    dataset, other = (
        dataclasses.replace(
            each,
            images=tuple(
                dataclasses.replace(image, annotations=tuple(image.annotations)) for image in each.images
            ),
        )
        for each in (read(folder), read(folder, move_a_point))
    )
    saved = through_json(fingerprint(CONFIG, dataset))
    check_fingerprint(saved, fingerprint(CONFIG, dataset))
    with pytest.raises(ValueError, match="with other names or annotations"):
        check_fingerprint(saved, fingerprint(CONFIG, other))
