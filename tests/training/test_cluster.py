"""Tests that two processes on this machine train like one, and that none waits forever."""

import json

import numpy as np
import pytest
from cluster_processes import check_codes, run_cluster
from training_results import check_run

from mask_rcnn import MaskRCNN
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.prediction.predict import load
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.distributed_evaluation import ValidationLosses
from mask_rcnn.training.processes import run_context


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


@pytest.mark.slow
def test_a_run_of_two_processes_has_the_weights_of_one(tmp_path, run_of_one_process):
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", run_of_one_process)
    names = [{path.name for path in folder.iterdir()} for folder in (tmp_path / "run", run_of_one_process)]
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
    losses = ValidationLosses(dataset, run_context(model.distribute_strategy))(model)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {f"val_{name}": value for name, value in losses.items()}.items() <= last.items()


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_after_the_same_step_and_the_run_is_resumed(
    tmp_path, run_of_one_process
):
    results = run_cluster(2, tmp_path, "run", 5, "SIGTERM")
    check_codes(results, [143, 143])
    assert all("Saved after step 5 of 10." in error for _, error in results)
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step_00000005.h5"
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", run_of_one_process)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_an_error_and_the_run_is_resumed(tmp_path, run_of_one_process):
    results = run_cluster(2, tmp_path, "run", 5, "SIGKILL")
    check_codes(results, [1, -9])
    assert "All 2 processes of a run must stay alive." in results[0][1]
    check_codes(run_cluster(2, tmp_path, "run"), [0, 0])
    check_run(tmp_path / "run", run_of_one_process)


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
