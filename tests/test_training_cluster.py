"""Tests that two processes on this machine train like one, and that none waits forever."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training_train import read_weights

from mask_rcnn import MaskRCNN
from mask_rcnn.data.coco import read_coco
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.prediction.predict import load
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.distributed_evaluation import SharedLosses
from mask_rcnn.training.processes import run_context

SCRIPT = Path(__file__).with_name("training_cluster.py")
TIMEOUT = 540  # seconds, after which a process is killed


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def run_cluster(num_processes, *arguments):
    """Runs the script in `num_processes` processes; returns `[(exit code, stderr)]` after all have ended."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(num_processes)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = []
    try:
        for rank in range(num_processes):
            cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            processes.append(
                subprocess.Popen(
                    [sys.executable, SCRIPT, *map(str, arguments)],
                    env={**environment, "TF_CONFIG": json.dumps(cluster)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        errors = [process.communicate(timeout=TIMEOUT)[1] for process in processes]
        return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def check_codes(results, codes):
    assert [code for code, _ in results] == codes, "\n".join(error[-2000:] for _, error in results)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """The results of the toy model: of one process, and of each of two."""
    folder = tmp_path_factory.mktemp("toys")
    results = []
    for num_processes in (1, 2):
        check_codes(run_cluster(num_processes, folder, "toy"), [0] * num_processes)
        results += [json.loads((folder / f"toy.{rank}.json").read_text()) for rank in range(num_processes)]
    return results


@pytest.mark.slow
@pytest.mark.parametrize("case, tolerance", [("clipped", 1e-6), ("accumulated", 1e-5), ("float16", 4e-4)])
def test_two_processes_end_with_the_weights_of_one(toys, case, tolerance):
    one, *two = (np.array(each[case]["end"]) for each in toys)
    assert np.abs(one - toys[0][case]["start"]).max() > 20 * tolerance
    assert np.abs(two[0] - one).max() < tolerance
    np.testing.assert_array_equal(*two)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["clipped", "accumulated"])
def test_the_logs_of_two_processes_are_those_of_one_in_uneven_batches_too(toys, case):
    one, *both = (each[case]["logs"] for each in toys)
    for logs in both:
        assert logs == [pytest.approx(expected, rel=1e-4) for expected in one]


@pytest.mark.slow
def test_processes_gather_values_of_any_size(toys):
    expected = [{"rank": 0, "numbers": []}, {"rank": 1, "numbers": list(range(99))}]
    assert toys[0]["gathered"] == expected[:1]
    assert toys[1]["gathered"] == toys[2]["gathered"] == expected


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("one")
    check_codes(run_cluster(1, folder, "run"), [0])
    return folder / "run"


def check_run(run, expected):
    ours, theirs = (read_weights(each / "final.weights.h5") for each in (run, expected))
    assert max(np.abs(ours[name] - theirs[name]).max() for name in theirs) < 1e-5
    lines = [len((each / "log.csv").read_text().splitlines()) for each in (run, expected)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_run_of_two_processes_has_the_weights_of_one(tmp_path, expected):
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", expected)
    names = [{path.name for path in folder.iterdir()} for folder in (tmp_path / "run", expected)]
    assert names[0] == names[1]
    check_evaluation(tmp_path / "run")


def check_evaluation(run):
    """Checks that the results of processes are bit-exact those of one process with the same weights."""
    path = run / "data" / "val" / "instances.json"
    dataset = read_coco(path, path.parent / "images")
    metrics, found = evaluate_model(
        load(run / "final.weights.h5"), dataset, content_of_dataset(dataset, path)
    )
    assert found == json.loads((run / "detections.json").read_text())
    assert len({entry["image_id"] for entry in found}) == len(dataset) == 5
    assert json.loads(json.dumps(metrics.to_json())) == json.loads((run / "results.json").read_text())

    model = MaskRCNN.from_preset(run / "final.weights.h5")
    losses = SharedLosses(dataset, run_context(model.distribute_strategy))(model)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {f"val_{name}": value for name, value in losses.items()}.items() <= last.items()


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_after_the_same_step_and_the_run_is_resumed(tmp_path, expected):
    results = run_cluster(2, tmp_path, "run", 5, "SIGTERM")
    check_codes(results, [143, 143])
    assert all("Saved after step 5 of 10." in error for _, error in results)
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step_00000005.h5"
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", expected)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_an_error_and_the_run_is_resumed(tmp_path, expected):
    results = run_cluster(2, tmp_path, "run", 5, "SIGKILL")
    check_codes(results, [1, -9])
    assert "All 2 processes of a run must stay alive." in results[0][1]
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", expected)


@pytest.mark.slow
def test_a_score_that_stays_the_same_ends_all_processes(tmp_path):
    check_codes(run_cluster(2, tmp_path, "impatient"), [0, 0])
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert 6 <= steps[-1] < 30
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1].name == f"step_{steps[-1]:08d}.h5"
    check_codes(run_cluster(2, tmp_path, "impatient"), [0, 0])
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1].name == f"step_{steps[-1]:08d}.h5"
