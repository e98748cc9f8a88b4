"""Tests that a run of the real model, killed 20 times and stopped 5 times, ends like an uninterrupted one.

The processes are forks of a process that has imported everything, so that a start takes seconds.
"""

import collections
import json
import multiprocessing
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from locations import HELPERS
from training_results import read_weights
from training_run import KILLED, train_quietly

from mask_rcnn.system.verified_hdf5 import verify
from mask_rcnn.training.checkpoint import FORMAT, checkpoints
from mask_rcnn.training.run_folder import CHECKPOINTS, LOG, METRICS

SEED = 5
STEPS, EVALUATE_EVERY = KILLED.train.steps, KILLED.train.evaluate_every
KILLS = {"start": 3, "step": 5, "checkpoint": 8, "evaluation": 4}
STOPS = {"step": 4, "evaluation": 1}
TIMEOUT = 600  # seconds; each part of the run is shorter


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function that starts the run in a folder and returns its process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        patch.setenv("PYTHONPATH", str(HELPERS))
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(["training_run"])
        output = tmp_path_factory.mktemp("output") / "output.txt"

        def start(folder):
            process = forks.Process(target=train_quietly, args=(KILLED, folder, output))
            process.start()
            return process

        yield start


def finish(process):
    process.join(TIMEOUT)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def expected(start, tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(start(folder))
    return folder


def wait_for(process, condition):
    """Waits until a condition holds, checked every millisecond, or the process has ended."""
    deadline = time.monotonic() + TIMEOUT
    while process.is_alive() and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def last_step(folder):
    """Returns the last step of the log. A resumed run first removes the rows after its checkpoint."""
    rows = (folder / LOG).read_text().splitlines()[1:] if (folder / LOG).exists() else []
    return int(rows[-1].split(",")[0]) if rows else 0


def partial_checkpoints(folder):
    """Returns the checkpoints that are being written, and those that killed runs have left."""
    return set((folder / CHECKPOINTS).glob(".*/new/*.h5"))


def wait_for_moment(kind, process, folder, old, moments):
    """Waits until the process does what `kind` says, and then for a random time."""
    saved = checkpoints(folder / CHECKPOINTS)
    first = int(saved[-1].stem.partition("_")[2]) if saved else 0
    if kind == "start":
        time.sleep(moments.uniform(0, 10))
    elif kind == "step":
        step = first + moments.randint(1, 3)
        since = time.time()
        wait_for(
            process,
            lambda: (
                (folder / LOG).exists()
                and (folder / LOG).stat().st_mtime > since
                and last_step(folder) >= step
            ),
        )
        time.sleep(moments.uniform(0, 0.3))
    elif kind == "checkpoint":
        wait_for(process, lambda: partial_checkpoints(folder) - old)
        time.sleep(moments.uniform(0, 0.03))
    else:
        step = first - first % EVALUATE_EVERY + EVALUATE_EVERY
        wait_for(process, lambda: (folder / CHECKPOINTS / f"step_{step:08d}.h5").exists())
        time.sleep(moments.uniform(0, 0.5))


def hit(folder, old):
    """Returns what the run was doing when it ended: "checkpoint", "evaluation" or "other"."""
    if partial_checkpoints(folder) - old:
        return "checkpoint"
    lines = (folder / METRICS).read_text().splitlines() if (folder / METRICS).exists() else []
    step = last_step(folder)
    is_evaluated = bool(lines) and json.loads(lines[-1])["step"] == step
    has_checkpoint = (folder / CHECKPOINTS / f"step_{step:08d}.h5").exists()
    is_evaluation = step and step % EVALUATE_EVERY == 0 and has_checkpoint and not is_evaluated
    return "evaluation" if is_evaluation else "other"


def check_checkpoints(folder):
    for path in checkpoints(folder / CHECKPOINTS):
        verify(path, FORMAT, "checkpoint")


def largest_difference(path, other):
    ours, theirs = read_weights(path), read_weights(other)
    assert ours.keys() == theirs.keys()
    return max(np.abs(ours[name].astype("float64") - theirs[name]).max() for name in theirs)


def metrics_of(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def names_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "tensorboard" not in path.parts}


@pytest.mark.slow
def test_a_run_that_is_killed_and_stopped_again_and_again_ends_like_an_uninterrupted_one(
    tmp_path, start, expected
):
    moments = random.Random(SEED)
    ends = [(signal.SIGKILL, kind) for kind, count in KILLS.items() for _ in range(count)]
    ends += [(signal.SIGTERM, kind) for kind, count in STOPS.items() for _ in range(count)]
    moments.shuffle(ends)
    hits = collections.Counter()
    for number, kind in ends:
        old = partial_checkpoints(tmp_path)
        process = start(tmp_path)
        wait_for_moment(kind, process, tmp_path, old, moments)
        (process.kill if number == signal.SIGKILL else process.terminate)()
        process.join(TIMEOUT)
        if number == signal.SIGKILL:
            assert process.exitcode == -signal.SIGKILL  # the run was killed before its end
            hits[hit(tmp_path, old)] += 1
        else:
            assert process.exitcode == 128 + signal.SIGTERM
            assert checkpoints(tmp_path / CHECKPOINTS)[-1].name == f"step_{last_step(tmp_path):08d}.h5"
        check_checkpoints(tmp_path)
    assert sum(hits.values()) == 20 and hits["checkpoint"] >= 6 and hits["evaluation"] >= 2, hits
    finish(start(tmp_path))

    assert largest_difference(tmp_path / "final.weights.h5", expected / "final.weights.h5") < 1e-5
    # Includes the momentum and the moving averages of the optimizer.
    last = Path(CHECKPOINTS) / f"step_{STEPS:08d}.h5"
    assert largest_difference(tmp_path / last, expected / last) < 1e-5
    ours, theirs = metrics_of(tmp_path), metrics_of(expected)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["val_loss"] == pytest.approx(other["val_loss"], rel=1e-3)
    assert (tmp_path / LOG).read_text().count("\n") == STEPS + 1
    assert names_of(tmp_path) == names_of(expected)
    assert not [name for name in names_of(tmp_path) if Path(name).name.startswith(".")]
