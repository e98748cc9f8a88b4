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
import tensorflow as tf
from training_run import TINY

from mask_rcnn.data.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.training.sources import read_training_data, with_class_count
from mask_rcnn.training.train import check_run_dir, named_images, write_config


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


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    check_run_dir(tmp_path, resume=False)
    (tmp_path / "log.csv").write_text("step,loss\n")
    with pytest.raises(ValueError, match="which holds a run. Resume it"):
        check_run_dir(tmp_path, resume=False)
    check_run_dir(tmp_path, resume=True)


def test_a_config_that_changed_on_resume_is_said(tmp_path, caplog):
    path = tmp_path / "config.yaml"
    write_config(path, TINY)
    write_config(path, TINY)
    assert not caplog.text
    write_config(path, dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, learning_rate=0.5)))
    assert "learning_rate: 0.5" in caplog.text


CATS = Dataset("cats", (Category(7, "cat"), Category(9, "lynx")), ())


def test_a_wrong_number_of_classes_is_an_error_that_names_the_right_one():
    with pytest.raises(ValueError, match=r"num_classes=3, cats has 2 \(cat, lynx.*Set `num_classes` to 2"):
        with_class_count(TINY, CATS)


def test_no_number_of_classes_is_that_of_the_data():
    assert with_class_count(dataclasses.replace(TINY, num_classes=0), CATS).num_classes == 2


def test_annotations_without_a_folder_of_images_are_an_error(tmp_path):
    data = dataclasses.replace(TINY.data, train_annotations="a.json")
    with pytest.raises(ValueError, match="Set `data.train_images`"):
        read_training_data(dataclasses.replace(TINY, data=data), tmp_path)


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


def test_an_image_that_is_damaged_inside_is_named(tmp_path):
    dataset = read_coco(*write_shapes(tmp_path, 2, (32, 32), 0))
    broken = next(image.path for image in dataset.images if image.path.suffix == ".png")
    contents = bytearray(broken.read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 64] = bytes(64)
    broken.write_bytes(contents)
    with pytest.raises(ValueError, match=broken.name), named_images(dataset):
        raise tf.errors.InvalidArgumentError(None, None, "Invalid PNG data")


def test_an_error_that_no_image_is_to_blame_for_stays(tmp_path):
    dataset = read_coco(*write_shapes(tmp_path, 2, (32, 32), 0))
    with pytest.raises(tf.errors.InvalidArgumentError), named_images(dataset):
        raise tf.errors.InvalidArgumentError(None, None, "another")
