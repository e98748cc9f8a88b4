"""Tests that two Ray workers train like one process, even if one of them is killed."""

import importlib.util
import os
import subprocess
import sys

import pytest
from locations import HELPERS
from ray_environment import TIMEOUT, needs_ray
from training_results import check_run
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.ablation.ray_trials import run_on_ray
from mask_rcnn.training.ray_train import train_on_ray


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("killed_after", [(), (2,)])
def test_two_workers_end_with_the_weights_of_one_process(tmp_path, run_of_one_process, killed_after):
    done = subprocess.run(
        [sys.executable, HELPERS / "training_ray.py", tmp_path, *map(str, killed_after)],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists() == bool(killed_after)
    check_run(tmp_path / "run", run_of_one_process)


def test_a_strategy_of_one_process_is_an_error(tmp_path):
    config = config_io.override(TINY, "train.strategy", "mirrored")
    with pytest.raises(ValueError, match="must be auto or multiworker"):
        train_on_ray(config, tmp_path, 2)


@pytest.mark.parametrize(
    "call", [lambda: train_on_ray(TINY, "runs/x", 2), lambda: run_on_ray([])], ids=["train", "ablation"]
)
def test_without_ray_the_error_names_the_package_to_install(call, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install mask-rcnn\[ray\]"):
        call()
