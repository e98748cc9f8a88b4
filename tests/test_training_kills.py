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


def start(folder):
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("training_run.py"), folder],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process, folder, step):
    """Waits until the log has a row for `step`, or the process has ended."""
    while process.poll() is None:
        if (folder / LOG).exists() and len((folder / LOG).read_text().splitlines()) > step:
            return
        time.sleep(0.001)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = start(folder)
    assert process.wait() == 0, process.stderr.read()
    return read_weights(folder / "final.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_again_and_again_has_the_weights_of_an_uninterrupted_one(
    tmp_path, expected, number, seed
):
    random_moment = random.Random(seed)
    finished = 0
    while True:
        process = start(tmp_path)
        wait_for_step(process, tmp_path, random_moment.randint(finished, STEPS))
        time.sleep(random_moment.uniform(0, 0.3))
        process.send_signal(number)
        code = process.wait()
        if code == 0:
            break
        assert code in (-number, 128 + number), process.stderr.read()
        log = tmp_path / LOG
        finished = min(len(log.read_text().splitlines()), STEPS) if log.exists() else 0
    final = read_weights(tmp_path / "final.weights.h5")
    assert max(np.abs(final[name] - expected[name]).max() for name in expected) < 1e-5
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
