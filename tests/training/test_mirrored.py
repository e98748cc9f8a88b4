"""Tests that two replicas train like one."""

import json
import os
import subprocess
import sys

import pytest
from locations import HELPERS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("mirrored") / "results.json"
    script = HELPERS / "training_mirrored.py"
    done = subprocess.run(
        [sys.executable, script, path],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [("plain", 1e-6), ("each image", 1e-6), ("clipped", 1e-6), ("bfloat16", 1e-4), ("float16", 4e-4)],
)
def test_two_replicas_end_with_the_weights_of_one(results, case, tolerance):
    assert results[case]["moved"] > 20 * tolerance
    assert results[case]["difference"] < tolerance


def test_two_replicas_of_two_micro_batches_end_with_the_weights_of_one_batch(results):
    assert results["accumulated"]["difference"] < 1e-6


def test_clipping_changed_the_run(results):
    assert results["clipped"]["moved"] < 0.9 * results["plain"]["moved"]


@pytest.mark.parametrize("case", ["plain", "each image", "accumulated"])
def test_the_logs_of_two_replicas_are_those_of_one_in_uneven_batches_too(results, case):
    (one, one_evaluation), (two, two_evaluation) = results[case]["logs"]
    assert one == pytest.approx(two, rel=1e-5)
    assert one_evaluation == pytest.approx(two_evaluation, rel=1e-5)
    assert (len(one), len(one_evaluation)) == (7, 6)


def test_the_rule_of_the_losses_changed_the_run(results):
    plain, each_image = (results[case]["logs"][0][1]["loss"] for case in ("plain", "each image"))
    assert abs(plain - each_image) > 1e-2


def test_an_overflow_in_any_replica_skips_the_step(results):
    assert results["overflow"] == [1.0, 4.0]


def test_gradients_of_many_boxes_over_the_same_pixels_lose_no_sums(results):
    assert results["roi_gradients"] == 0.0


def test_a_batch_that_cannot_be_shared_out_evenly_is_an_error(results):
    assert "Received: batch_size=3" in results["odd_batch"]
    assert "a multiple of 2" in results["odd_batch"]
