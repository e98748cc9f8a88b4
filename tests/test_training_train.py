"""Whole runs of the real model, tiny: what they leave, and that no crash or replica changes it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from training_run import TINY

from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.training.sources import check_paths, read_training_data, with_class_count


def run_script(name, *arguments):
    return subprocess.run(
        [sys.executable, Path(__file__).with_name(name), *map(str, arguments)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )


def read_weights(path):
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    return arrays


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = run_script("training_run.py", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_run_leaves_weights_scores_logs_and_pictures(run):
    folder, _ = run
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if "data" not in path.parts}
    assert names >= {
        "config.yaml",
        "best.weights.h5",
        "final.weights.h5",
        "log.csv",
        "metrics.jsonl",
        "results.json",
        "detections.json",
        "pictures/000000.png",
        "checkpoints/step_00000009.h5",
        "checkpoints/step_00000010.h5",
    }
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [6, 10]
    assert json.loads((folder / "results.json").read_text())["num_images"] == 2


def test_a_run_says_how_far_it_is_and_what_came_of_it(run):
    _, output = run
    for part in ("step 10/10  loss", "step 10/10  segm/AP", "AP50", "triangle", str(run[0])):
        assert part in output


def test_the_final_weights_carry_config_and_classes(run):
    predictor = Predictor.load(run[0] / "final.weights.h5")
    assert predictor.config == TINY
    assert [category.name for category in predictor.categories] == ["square", "circle", "triangle"]
    predictor.predict(np.zeros((64, 64, 3), "uint8"))


def test_frozen_stages_keep_their_pretrained_weights_and_the_others_learn(run):
    final = read_weights(run[0] / "final.weights.h5")
    checkpoint = read_weights(run[0] / "best.weights.h5")  # of step 6
    moved = {name.split("/")[0] for name in final if not np.array_equal(final[name], checkpoint[name])}
    assert moved >= {"backbone", "fpn", "rpn_head", "box_head", "mask_head"}
    stem = "backbone/stem/kernel"
    np.testing.assert_array_equal(final[stem], checkpoint[stem])


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 5])
def test_a_killed_and_resumed_run_has_the_same_weights(run, tmp_path, step):
    assert run_script("training_run.py", tmp_path, step).returncode == -9
    assert run_script("training_run.py", tmp_path).returncode == 0
    expected = read_weights(run[0] / "final.weights.h5")
    resumed = read_weights(tmp_path / "final.weights.h5")
    assert max(np.abs(resumed[name] - expected[name]).max() for name in expected) < 1e-5


@pytest.mark.slow
def test_two_replicas_train_the_real_model_to_the_weights_of_one(tmp_path):
    done = run_script("training_mirrored_run.py", tmp_path / "results.json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    first, second = np.split(np.array(results["num_objects"]), 2)  # what each replica sees
    assert first.sum() != second.sum()
    assert results["moved"] > 1e-2
    assert results["difference"] < 1e-5


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
        check_paths(dataclasses.replace(TINY.data, **fields))


def test_no_data_and_whole_data_are_accepted(tmp_path):
    check_paths(TINY.data)
    annotations, images = map(str, write_shapes(tmp_path, 1, (32, 32), 0))
    data = dataclasses.replace(TINY.data, train_annotations=annotations, train_images=images)
    check_paths(data)
    check_paths(dataclasses.replace(data, val_annotations=annotations, val_images=images))


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
