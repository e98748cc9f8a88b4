"""Tests of mixed_float16's loss scaling in a complete run: a step whose gradients overflow."""

import csv

import numpy as np
import pytest
from training_toy import make_batches, make_trainer, run_toy

FLOAT16 = {"precision": "mixed_float16", "learning_rate": 1e-4}
TOO_LARGE = 2.0**40  # a loss scale that overflows float16 with any loss


def weights(trainer):
    return [np.asarray(variable) for variable in trainer.trainable_variables]


@pytest.fixture
def overflowing():
    trainer = make_trainer(**FLOAT16)
    trainer.optimizer.build(trainer.trainable_variables)
    trainer.optimizer.dynamic_scale.assign(TOO_LARGE)
    return trainer


def test_a_step_that_overflows_is_skipped_and_reported(overflowing, tmp_path, caplog):
    before = weights(overflowing)
    overflowing.fit(make_batches(steps=1), shuffle=False, verbose=0)
    for found, expected in zip(weights(overflowing), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert float(overflowing.optimizer.dynamic_scale) == TOO_LARGE / 2

    run_toy(overflowing, make_batches, tmp_path)
    rows = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    scales = [float(row["loss_scale"]) for row in rows]
    skipped = [after < before for before, after in zip([TOO_LARGE / 2, *scales], scales, strict=False)]
    assert sum(skipped) > 1 and skipped[0]
    assert "Step 1 is skipped: its gradients overflow float16. The loss scale is lowered to 2.74878e+11" in (
        caplog.text
    )
    assert f"{sum(skipped)} of 10 steps were skipped" in caplog.text


def test_a_run_without_overflow_reports_nothing(tmp_path, caplog):
    trainer = make_trainer(**FLOAT16)
    trainer.optimizer.build(trainer.trainable_variables)
    trainer.optimizer.dynamic_scale.assign(1.0)
    run_toy(trainer, make_batches, tmp_path)
    assert "skipped" not in caplog.text


def test_a_checkpoint_holds_the_scale(overflowing, tmp_path):
    run_toy(overflowing, make_batches, tmp_path)
    resumed = make_trainer(seed=1, **FLOAT16)
    assert run_toy(resumed, make_batches, tmp_path)["step"] == 10
    assert float(resumed.optimizer.dynamic_scale) == float(overflowing.optimizer.dynamic_scale) != 2.0**15
