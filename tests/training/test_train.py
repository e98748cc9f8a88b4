"""Complete runs of a tiny real model: their files, and that no crash or replica changes the results."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from locations import HELPERS
from training_results import read_weights
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.config import DataConfig
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.training.train import train


def run_script(name, *arguments):
    return subprocess.run(
        [sys.executable, HELPERS / name, *map(str, arguments)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )


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
    checkpoint = read_weights(run[0] / "best.weights.h5")  # from step 6
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


def test_a_run_is_not_resumed_with_another_config_and_nothing_of_it_changes(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".h5", ".csv", ".yaml")
    }
    changed = config_io.override_all(TINY, {"input.horizontal_flip": 0.0, "train.steps": 20})
    with pytest.raises(ValueError, match="with the data and the config that it began with") as error:
        train(changed, folder)
    assert "input.horizontal_flip: 0.5 -> 0.0\n" in str(error.value) and "train.steps" not in str(error.value)
    kept = {path: path.read_bytes() for path in before}
    assert kept == before


@pytest.mark.slow
def test_two_replicas_train_the_real_model_to_the_weights_of_one(tmp_path):
    done = run_script("training_mirrored_run.py", tmp_path / "results.json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    first, second = np.split(np.array(results["num_objects"]), 2)  # the images of each replica
    assert first.sum() != second.sum()
    assert results["moved"] > 1e-2
    assert results["difference"] < 1e-5


def config_with_a_damaged_image(folder, max_bad_images):
    """A run of four steps. One image passes the check of its header and cannot be decoded."""
    annotations, images = write_shapes(folder, 8, (64, 64), seed=0)
    path = images / "000002.png"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\0" * 50 + content[middle + 50 :])
    data = DataConfig(
        train_annotations=str(annotations), train_images=str(images), max_bad_images=max_bad_images
    )
    recipe = dataclasses.replace(TINY.train, steps=4, milestones=(3,), warmup_steps=1)
    return dataclasses.replace(TINY, data=data, train=recipe), path


def test_a_run_survives_an_image_that_cannot_be_decoded(tmp_path, caplog):
    config, path = config_with_a_damaged_image(tmp_path / "data", max_bad_images=0.2)
    with caplog.at_level("WARNING"):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "final.weights.h5").exists()
    assert [str(path) in message for message in caplog.messages if "replaced" in message] == [True]


@pytest.mark.slow
def test_a_run_with_too_many_damaged_images_ends_with_one_error_that_names_them(tmp_path):
    config, path = config_with_a_damaged_image(tmp_path / "data", max_bad_images=0.1)
    with pytest.raises(ValueError, match=f"1 of 8; 1 found in training:\n  .*{path}"):
        train(config, tmp_path / "run")
