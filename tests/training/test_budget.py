"""Tests of a time budget: the number of steps, the scaled schedule, and that a resumed run keeps both."""

import dataclasses
import time
import types

import numpy as np
import pytest
import tensorflow as tf
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.cli.train import _seconds
from mask_rcnn.config import TrainConfig
from mask_rcnn.training import budget as budget_module
from mask_rcnn.training.budget import Cost, StepTimer, scale_schedule, within_budget
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.run_folder import CONFIG, LOG

RECIPE = TrainConfig(
    batch_size=2,
    reference_batch_size=4,
    steps=1000,
    milestones=(600, 900),
    warmup_steps=100,
    ema_decay=0.99,
    evaluate_every=100,
    checkpoint_every=100,
    budget=1000.0,
)
COST = Cost(spent=50.0, start=30.0, step=0.5, evaluation=20.0)
CONTEXT = run_context(tf.distribute.get_strategy())


def test_the_steps_fill_the_time_that_start_and_evaluations_leave():
    # 1000 - 50 - 30 - 20 s, minus the reserve. A step takes 0.5 s and 1/100 of an evaluation of 20 s.
    assert COST.steps_within(RECIPE) == int(0.95 * 900 / 0.7)
    at_the_end = dataclasses.replace(RECIPE, evaluate_every=0)
    assert COST.steps_within(at_the_end) == int(0.95 * 900 / 0.5)


def test_a_budget_without_time_for_a_step_is_an_error_that_says_how_much_is_needed():
    short = dataclasses.replace(RECIPE, budget=100.0)
    with pytest.raises(ValueError, match=r"here 101 s\. Received: 100 s"):
        COST.check(short, COST.steps_within(short))
    COST.check(RECIPE, COST.steps_within(RECIPE))
    # 100 s and (0.5 + 20) / 0.95 s: each step is followed by an evaluation.
    often = dataclasses.replace(short, evaluate_every=1, checkpoint_every=1)
    with pytest.raises(ValueError, match=r"here 122 s\. Received: 100 s"):
        COST.check(often, COST.steps_within(often))
    assert COST.steps_within(dataclasses.replace(often, budget=122.0)) == 1


def test_the_whole_schedule_scales_with_the_steps():
    half = scale_schedule(RECIPE, 1000)  # of 2000
    assert (half.scaled_steps, half.steps, half.budget) == (1000, 500, None)
    assert (half.milestones, half.warmup_steps, half.ema_decay) == ((300, 450), 50, pytest.approx(0.98))
    assert half.scaled_learning_rate == RECIPE.scaled_learning_rate
    double = scale_schedule(RECIPE, 4000)
    assert (double.milestones, double.ema_decay) == ((1200, 1800), pytest.approx(0.995))


def test_a_very_short_schedule_is_a_valid_one():
    shortest = scale_schedule(RECIPE, 1)
    assert (shortest.scaled_steps, shortest.milestones, shortest.ema_decay) == (2, (1,), 0.0)


@pytest.mark.parametrize(
    ("seconds", "mean", "graph"), [([9, 2, 2, 2, 1, 2], 1.5, 7.5), ([9, 2, 4], 3.0, 6.0)]
)
def test_the_first_steps_are_not_timed(seconds, mean, graph):
    timer = StepTimer(15, 1000.0, CONTEXT)
    timer.set_model(types.SimpleNamespace())
    for step, taken in enumerate(seconds, start=1):
        timer.on_step(step, {}, taken)
        assert not timer.model.stop_training
    assert (timer.seconds_of_step, timer.seconds_of_graph) == (pytest.approx(mean), pytest.approx(graph))


def test_slow_steps_end_the_timing_after_a_tenth_of_the_budget():
    timer = StepTimer(15, 100.0, CONTEXT)
    timer.set_model(types.SimpleNamespace())
    ended = []
    for step, taken in enumerate([30.0, 6.0, 6.0], start=1):
        timer.on_step(step, {}, taken)
        ended.append(timer.model.stop_training)
    assert ended == [False, False, True]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400)])
def test_the_option_has_a_unit(text, seconds):
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "-5m", "20 min"])
def test_other_texts_are_an_error(text):
    with pytest.raises(Exception, match="as in 90s, 20m or 2h. Received"):
        _seconds(text)


def test_a_run_that_has_begun_keeps_its_schedule_and_times_nothing(tmp_path, capsys):
    begun = dataclasses.replace(TINY, train=scale_schedule(TINY.train, 37))
    (tmp_path / CONFIG).write_text(config_io.to_yaml(begun))
    (tmp_path / LOG).write_text("step\n")
    config = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, budget=60.0))
    assert (
        within_budget(
            config, tmp_path, prepare_run=pytest.fail, context=CONTEXT, start_time=time.perf_counter()
        )
        == begun
    )
    assert "keeps the 37 steps" in capsys.readouterr().out


class Model:
    """A model of one weight. It records the number of steps of `fit`."""

    def __init__(self):
        self.variables = [tf.Variable(1.0)]
        self.num_steps = 0

    def fit(self, batches, steps_per_epoch, callbacks, **options):
        (timer,) = callbacks
        timer.set_model(self)
        for step in range(steps_per_epoch):
            timer.on_train_batch_begin(step)
            self.variables[0].assign_add(1.0)
            timer.on_train_batch_end(step, {})
            self.num_steps += 1


def test_a_model_is_timed_and_keeps_its_weights(tmp_path, monkeypatch, capsys):
    model = Model()
    recipe = dataclasses.replace(TINY.train, steps=1000, milestones=(500,), budget=1e4)
    run = types.SimpleNamespace(
        config=dataclasses.replace(TINY, train=recipe), train_set=tf.data.Dataset.range(1), model=model
    )
    run.evaluator = None
    config = within_budget(
        run.config, tmp_path, prepare_run=lambda _: (run, {}), context=CONTEXT, start_time=time.perf_counter()
    )
    assert model.num_steps == budget_module.WARMUP_STEPS + budget_module.TIMED_STEPS
    np.testing.assert_array_equal(model.variables[0], 1.0)
    assert config.train.scaled_steps > 1000 and config.train.budget is None
    assert "instead of 1000" in capsys.readouterr().out
