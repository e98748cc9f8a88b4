"""Tests of all checks before the first step of a run."""

import dataclasses
import json
import shutil
import types

import numpy as np
import pytest
from training_run import TINY
from training_toy import ToyEvaluator, make_batches, make_trainer, run_toy

from mask_rcnn import config_io
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.errors import PartialFailure
from mask_rcnn.structures import Category
from mask_rcnn.training import preflight as preflight_module
from mask_rcnn.training.check_runner import Checks
from mask_rcnn.training.data_sources import check_sources
from mask_rcnn.training.loop import restore_or_initialize
from mask_rcnn.training.preflight import check_disk_space
from mask_rcnn.training.prepare import prepare
from mask_rcnn.training.train import check, evaluate_final_weights
from mask_rcnn.training.training_data import (
    check_objects,
    read_training_data,
    with_class_count,
)

CATS = Dataset("cats", (Category(7, "cat"), Category(9, "lynx")), ())


def test_a_wrong_number_of_classes_is_an_error_that_names_the_right_one():
    with pytest.raises(ValueError, match=r"num_classes=3, cats has 2 \(cat, lynx.*Set `num_classes` to 2"):
        with_class_count(TINY, CATS)


def test_no_number_of_classes_is_that_of_the_data():
    assert with_class_count(dataclasses.replace(TINY, num_classes=0), CATS).num_classes == 2


@pytest.mark.parametrize(
    "given, message",
    [
        ("train_annotations", r"Add `data.train_images` \(`--train-images`\)"),
        ("train_images", r"Add `data.train_annotations` \(`--train-annotations`\)"),
        ("val_annotations", "Add `data.val_images`"),
        ("val_images", "Add `data.val_annotations`"),
        ("train_annotations train_images val_annotations", "Add `data.val_images`"),
        ("train_annotations train_images val_images", "Add `data.val_annotations`"),
        ("val_annotations val_images", "A validation set goes with a training set"),
        ("train_annotations val_annotations val_images", "Add `data.train_images`"),
        ("train_images val_annotations val_images", "Add `data.train_annotations`"),
        ("train_annotations train_images=file", "`data.train_images`.*must be a folder.*is a file"),
        (
            "train_annotations=folder train_images",
            "`data.train_annotations`.*must be a COCO json.*is a folder",
        ),
        ("train_annotations=absent train_images", "must be a COCO json.*does not exist"),
        (
            "train_annotations train_images val_annotations val_images=absent",
            "`data.val_images`.*does not exist",
        ),
    ],
)
def test_half_of_the_data_options_is_an_error_that_says_what_is_missing(tmp_path, given, message):
    paths = {"file": tmp_path / "file.json", "folder": tmp_path, "absent": tmp_path / "absent"}
    paths["file"].write_text("{}")
    fields = {}
    for word in given.split():
        field, _, kind = word.partition("=")
        fields[field] = str(paths[kind or ("folder" if field.endswith("images") else "file")])
    with pytest.raises(ValueError, match=message):
        check_sources(dataclasses.replace(TINY.data, **fields))


def test_no_data_and_whole_data_are_accepted(tmp_path):
    check_sources(TINY.data)
    annotations, images = map(str, write_shapes(tmp_path, 1, (32, 32), seed=0))
    data = dataclasses.replace(TINY.data, train_annotations=annotations, train_images=images)
    check_sources(data)
    check_sources(dataclasses.replace(data, val_annotations=annotations, val_images=images))


def test_a_validation_set_of_other_classes_is_an_error(tmp_path):
    read_training_data(TINY, tmp_path)
    content = json.loads((tmp_path / "val" / "instances.json").read_text())
    content["categories"][0]["name"] = "box"
    (tmp_path / "val" / "other.json").write_text(json.dumps(content))
    data = dataclasses.replace(
        TINY.data,
        train_annotations=str(tmp_path / "train" / "instances.json"),
        train_images=str(tmp_path / "train" / "images"),
        val_annotations=str(tmp_path / "val" / "other.json"),
        val_images=str(tmp_path / "val" / "images"),
    )
    with pytest.raises(ValueError, match="must have the same classes"):
        read_training_data(dataclasses.replace(TINY, data=data), tmp_path)


def changed_json(path, name, change):
    """Writes a modified copy of annotations as `name` in the same folder; returns its path."""
    content = json.loads(path.read_text())
    change(content)
    (path.parent / name).write_text(json.dumps(content))
    return str(path.parent / name)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The paths of annotations and of their images."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), 4, (64, 64), seed=3)


def config_for(shapes, val_annotations):
    data = dataclasses.replace(
        TINY.data,
        train_annotations=str(shapes[0]),
        train_images=str(shapes[1]),
        val_annotations=val_annotations,
        val_images=str(shapes[1]),
    )
    return dataclasses.replace(TINY, data=data)


def test_validation_objects_without_a_mask_are_an_error_before_the_model_is_built(shapes, tmp_path):
    path = changed_json(
        shapes[0], "no_mask.json", lambda content: content["annotations"][0].pop("segmentation")
    )
    with pytest.raises(ValueError, match=r"no_mask, with\n  1 objects without a mask"):
        read_training_data(config_for(shapes, path), tmp_path)


def test_categories_may_be_listed_in_another_order(shapes, tmp_path):
    path = changed_json(shapes[0], "other_ids.json", reverse_category_ids)
    train_set, val_set, _ = read_training_data(config_for(shapes, path), tmp_path)
    names = [[category.name for category in each.categories] for each in (train_set, val_set)]
    assert names[0] == names[1][::-1]


def test_overfitting_takes_a_few_images_with_objects_for_both_sets(shapes, tmp_path, caplog):
    path = changed_json(shapes[0], "first_is_empty.json", empty_first_image)
    config = config_io.override_all(
        config_for(shapes, path), {"data.train_annotations": path, "data.overfit": 1}
    )
    train_set, val_set, val_path = read_training_data(config, tmp_path)
    assert val_set is train_set and val_path is None
    assert [image.id for image in train_set.images] == [2]
    assert not caplog.text
    config = config_io.override_all(config, {"data.overfit": 9})
    assert len(read_training_data(config, tmp_path)[0]) == 2
    assert "has 2 images with objects; all are used" in caplog.text


def empty_first_image(content):
    first = content["images"][0]["id"]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != first]


def test_overfitting_makes_no_random_changes_and_trains_on_its_images_alone(tmp_path):
    config = config_io.override_all(TINY, {"data.overfit": 2, "input.transforms": ["color_jitter"]})
    run = prepare(config, tmp_path)
    assert run.config.input.horizontal_flip == 0 and run.config.input.transforms == ()
    assert run.config.input.train_short_sides == (64,)
    assert len(run.train_set) == len(run.evaluator.dataset) == 2


def test_overfitting_needs_a_data_set():
    config = dataclasses.replace(TINY.data, overfit=2)
    with pytest.raises(ValueError, match=r"data.overfit=2 with batches"):
        check_sources(config, make_batches())


def reverse_category_ids(content):
    for entry, field in [
        *((category, "id") for category in content["categories"]),
        *((annotation, "category_id") for annotation in content["annotations"]),
    ]:
        entry[field] = 4 - entry[field]


def test_nothing_to_measure_is_said_before_the_first_step(shapes, tmp_path, caplog):
    train_set = read_coco(*shapes)
    check_objects(train_set, train_set, "segm")
    assert not caplog.text
    without = dataclasses.replace(
        train_set, images=tuple(dataclasses.replace(image, annotations=()) for image in train_set.images)
    )
    check_objects(train_set, without, "segm")
    assert "has no object to find, so segm/AP cannot be measured" in caplog.text
    with pytest.raises(ValueError, match="4 images and no object"):
        check_objects(without, None, "segm")


def test_a_check_reads_everything_and_leaves_nothing(tmp_path, capsys):
    check(TINY, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "initial weights",
        "training data",
        "validation data",
        "classes",
        "model",
        "run folder",
        "disk space",
        "memory",
        "evaluation",
        "next batch",
        "All checks passed.",
    ]
    assert "8 images" in lines[1] and "3 classes (" in lines[1] and "2 images" in lines[2]
    assert lines[9] == "next batch: (4, 64, 64, 3)"
    assert not list(tmp_path.iterdir())


def test_all_checks_that_fail_are_reported_at_once(shapes, tmp_path, capsys):
    path = changed_json(shapes[0], "no_masks.json", remove_masks)
    config = config_for(shapes, path)
    config = config_io.override_all(
        config, {"data.train_annotations": path, "train.init_weights": None, "backbone.weights": None}
    )
    config = config_io.override_all(config, {"backbone.frozen_stages": 2})
    with pytest.raises(ValueError) as error:
        check(config, tmp_path / "run")
    first, *failed = str(error.value).splitlines()
    assert first == "3 checks failed."
    for name in ("initial weights: ", "training data: ", "validation data: "):
        assert any(line.startswith(name) for line in failed)
    assert capsys.readouterr().out.splitlines() == [
        "initial weights: failed",
        "training data: failed",
        "validation data: failed",
    ]


def remove_masks(content):
    for annotation in content["annotations"]:
        del annotation["segmentation"]


def test_wrong_paths_are_reported_before_weights_are_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight_module, "check_initial_weights", lambda config: pytest.fail("too early"))
    data = dataclasses.replace(TINY.data, train_annotations=str(tmp_path / "absent.json"))
    with pytest.raises(ValueError, match="go together"):
        check(dataclasses.replace(TINY, data=data), tmp_path / "run")


def test_one_check_that_fails_raises_its_own_error():
    checks = Checks()
    checks.run("first", lambda: "fine")
    checks.run("second", missing_file)
    with pytest.raises(FileNotFoundError, match="the file"):
        checks.finish()


def missing_file():
    raise FileNotFoundError("the file")


def test_too_little_disk_space_is_an_error_before_the_first_step(tmp_path, monkeypatch):
    trainer = make_trainer()
    trainer.optimizer.build(trainer.trainable_variables)
    check_disk_space(trainer, TINY.train, tmp_path / "new" / "run")
    weights = sum(np.asarray(variable).nbytes for variable in trainer.variables)
    optimizer = sum(np.asarray(variable).nbytes for variable in trainer.optimizer.variables)
    needed = 3 * (weights + optimizer) + 3 * weights
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=needed))
    check_disk_space(trainer, TINY.train, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=needed - 1))
    with pytest.raises(ValueError, match="lower `train.keep_checkpoints`"):
        check_disk_space(trainer, TINY.train, tmp_path)
    (tmp_path / "step_1.h5").write_bytes(b"1")  # a file of the run that is resumed
    check_disk_space(trainer, TINY.train, tmp_path)


def test_resuming_does_not_need_the_initial_weights(tmp_path):
    trainer = make_trainer()
    run_toy(trainer, make_batches, tmp_path)

    def initialize():
        raise FileNotFoundError("the weights that the run began with")

    other = make_trainer(seed=1)
    assert restore_or_initialize(other, tmp_path, "toy", initialize=initialize) == {"step": 10, "run": "toy"}
    np.testing.assert_array_equal(other.variables[0], trainer.variables[0])
    with pytest.raises(FileNotFoundError):
        restore_or_initialize(other, tmp_path / "new", "toy", initialize=initialize)


def test_a_run_does_not_take_the_checkpoints_of_another_one(tmp_path):
    run_toy(make_trainer(), make_batches, tmp_path)
    with pytest.raises(ValueError, match="step 10 of another run"):
        restore_or_initialize(make_trainer(), tmp_path, "another")


def test_a_final_evaluation_that_fails_says_where_the_weights_are(tmp_path):
    def evaluate():
        raise KeyError("area")

    with pytest.raises(PartialFailure, match=r"final\.weights\.h5, but they cannot be evaluated.*KeyError"):
        evaluate_final_weights(None, ToyEvaluator(evaluate), tmp_path, step=10)
