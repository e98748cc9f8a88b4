"""Whole runs of the real model, killed and stopped at random moments, end like the uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_training_train import read_weights

from mask_rcnn.training.run_folder import LOG

STEPS = 10
ENDS = 3  # times that a run is ended


def start(folder):
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("training_run.py"), folder],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, codes):
    """Waits for the end of a process, whose exit code must be one of `codes`."""
    _, error = process.communicate()
    assert process.returncode in codes, error


def wait_for_step(process, folder, step, since):
    """Waits until the process has written a row for `step` into the log, or has ended."""
    log = folder / LOG
    while process.poll() is None:
        is_new = log.exists() and log.stat().st_mtime > since  # a resumed run rewrites it first
        if is_new and len(log.read_text().splitlines()) > step:
            return
        time.sleep(0.001)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(start(folder), codes=[0])
    return read_weights(folder / "final.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_again_and_again_has_the_weights_of_an_uninterrupted_one(
    tmp_path, expected, number, seed
):
    random_moment = random.Random(seed)
    for _ in range(ENDS):
        since = time.time()
        process = start(tmp_path)
        wait_for_step(process, tmp_path, random_moment.randint(0, STEPS), since)
        time.sleep(random_moment.uniform(0, 0.3))
        process.send_signal(number)
        finish(process, codes=[0, -number, 128 + number])
    finish(start(tmp_path), codes=[0])
    final = read_weights(tmp_path / "final.weights.h5")
    assert max(np.abs(final[name] - expected[name]).max() for name in expected) < 1e-5
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
