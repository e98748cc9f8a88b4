"""Tests that the runs of a table in Ray tasks give the results of one process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from locations import HELPERS
from ray_environment import TIMEOUT, needs_ray
from training_results import read_weights

from mask_rcnn.ablation.trial import run_sequentially


@needs_ray
@pytest.mark.slow
def test_runs_on_ray_are_those_of_one_process(tmp_path):
    import ablation_ray

    done = subprocess.run(
        [sys.executable, HELPERS / "ablation_ray.py", tmp_path],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    ablation_ray.run(tmp_path / "expected", run_sequentially)
    reports, weights = (
        [read(tmp_path / folder) for folder in ("runs", "expected")] for read in (_report, _weights)
    )
    assert reports[0] == reports[1] and len(reports[0]["rows"]) == 3
    assert max(np.abs(weights[0][name] - weights[1][name]).max() for name in weights[1]) < 1e-5
    error = (tmp_path / "error.txt").read_text()
    assert "3 of 3 runs failed on Ray" in error and "missing" in error
    assert "Row 1 of 3: align, seed 0" in error


def _report(folder):
    return json.loads((folder / "report.json").read_text())


def _weights(folder):
    return read_weights(folder / "pool" / "seed_0" / "final.weights.h5")
