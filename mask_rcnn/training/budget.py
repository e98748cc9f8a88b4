"""Training within a time budget: times a few steps and scales the schedule to fit the budget."""

import dataclasses
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.config import Config, TrainConfig
from mask_rcnn.config.ranges import EMA_DECAY
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.batches import batches_of
from mask_rcnn.training.evaluator import NUM_DRY_RUN_IMAGES, NUM_PICTURES, Evaluator
from mask_rcnn.training.prepare import Run
from mask_rcnn.training.processes import RunContext
from mask_rcnn.training.run_folder import CONFIG, has_steps
from mask_rcnn.training.step_callback import StepCallback

# Fields of `TrainConfig` that a budget sets.
SCHEDULE = ("budget", "steps", "milestones", "warmup_steps", "ema_decay")
WARMUP_STEPS = 4  # not timed: the first builds the graph, the next ones fill caches and the queue of batches
TIMED_STEPS = 11
TIMED_FRACTION = 0.1  # of the budget: timing stops early, with fewer steps, after this fraction
RESERVE = 0.05  # fraction of the time for steps: later steps may be slower, and checkpoints take time


def within_budget(
    config: Config,
    run_dir: Path,
    *,
    prepare_run: Callable[[Config], tuple[Run, dict[str, Any]]],
    context: RunContext,
    start_time: float,
) -> Config:
    """Returns a `Config` with as many steps as fit into `train.budget`, and a schedule scaled to them.

    The number of steps comes from timing a few steps of the run. The weights of a given model are restored
    after the timing, and a model that was built for it is discarded. So the run is the same as a run of the
    returned config. A run that has already begun keeps its original schedule.

    Args:
        config: `Config` with a `train.budget`, in seconds.
        run_dir: `Path` of the run folder.
        prepare_run: Function from a `Config` to a `Run` and its state, as `preflight` returns them.
        context: `RunContext`.
        start_time: Value of `time.perf_counter()` at the start of the run.

    Returns:
        `Config` without a budget.

    Raises:
        ValueError: The budget is too short for one step.
    """
    original = context.gather(_original_schedule(run_dir) if context.is_chief else None)[0]
    if original is None:
        cost = _measure(config, prepare_run=prepare_run, context=context, start_time=start_time)
        gc.collect()  # frees the model that was timed
        steps = context.gather(cost.steps_within(config.train) if context.is_chief else 0)[0]
        cost.check(config.train, steps)
        recipe = scale_schedule(config.train, steps)
        if context.is_chief:
            print_line(cost.describe(config.train, recipe))
    else:
        values = {f"train.{name}": value for name, value in original.items()}
        recipe = config_io.override_all(config, values).train
        if context.is_chief:
            print_line(
                f"The run keeps the {recipe.scaled_steps} steps that fitted into its budget at its start."
            )
    return dataclasses.replace(config, train=recipe)


def scale_schedule(recipe: TrainConfig, steps: int) -> TrainConfig:
    """Returns a `TrainConfig` with another number of steps; milestones, warm-up and EMA decay are scaled too.

    Args:
        recipe: `TrainConfig`.
        steps: New number of steps of the run, in the unit of `scaled_steps`.
    """
    factor = steps / recipe.scaled_steps
    ema_decay = (
        recipe.ema_decay and 1 - (1 - recipe.ema_decay) / factor
    )  # scales the window of the average, 1 / (1 - decay) steps
    return dataclasses.replace(
        recipe,
        budget=None,
        steps=max(1, round(steps * recipe.scale)),
        milestones=tuple(sorted({max(1, round(step * factor)) for step in recipe.milestones})),
        warmup_steps=round(recipe.warmup_steps * factor),
        ema_decay=ema_decay and min(max(ema_decay, EMA_DECAY.low), EMA_DECAY.high),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Duration of the parts of a run, in seconds.

    Attributes:
        spent: Time from the start of the run to the end of the timing.
        start: Time to prepare the run once more and to build the graph of a step.
        step: Time of one step, including the wait for its data.
        evaluation: Time of one evaluation of the validation set. 0 without a validation set.
    """

    spent: float
    start: float
    step: float
    evaluation: float

    @property
    def fixed(self) -> float:
        """Time that does not depend on the number of steps, with the evaluation of the final weights."""
        return self.spent + self.start + self.evaluation

    def step_with_evaluations(self, recipe: TrainConfig) -> float:
        """Returns the time of a step with its fraction of the evaluations every `recipe.evaluate_every`."""
        return self.step + (self.evaluation / recipe.evaluate_every if recipe.evaluate_every else 0.0)

    def steps_within(self, recipe: TrainConfig) -> int:
        """Returns how many steps fit into `recipe.budget`, less than 1 if it is too short."""
        remaining = _budget_of(recipe) - self.fixed
        return math.floor((1 - RESERVE) * remaining / self.step_with_evaluations(recipe))

    def check(self, recipe: TrainConfig, steps: int) -> None:
        """Raises a ValueError if the budget is too short for one step.

        Args:
            recipe: `TrainConfig` with the budget.
            steps: Result of `steps_within`, the same in all processes.
        """
        if steps < 1:
            needed = math.ceil(self.fixed + self.step_with_evaluations(recipe) / (1 - RESERVE))
            raise ValueError(
                "`train.budget` must have time for the start, a step and its evaluations, here "
                f"{needed} s. Received: {recipe.budget:g} s. Increase it, or evaluate on fewer images."
            )

    def describe(self, recipe: TrainConfig, scaled: TrainConfig) -> str:
        """Returns a line for the log with the number of steps that fit into the budget.

        Args:
            recipe: `TrainConfig` with the budget.
            scaled: The `TrainConfig` scaled to the budget.
        """
        return (
            f"{recipe.budget:g} s are enough for {scaled.scaled_steps} steps of {self.step:.3g} s instead of "
            f"{recipe.scaled_steps}, with {self.spent + self.start:.0f} s for the start and "
            f"{self.evaluation:.0f} s for each evaluation; the schedule is scaled to them."
        )


def _budget_of(recipe: TrainConfig) -> float:
    if recipe.budget is None:
        raise ValueError(
            "Expected a config with a time budget. Received: train.budget=None. Set it to the seconds of the "
            "whole run, such as 1200 (`--budget 20m`)."
        )
    return recipe.budget


def _original_schedule(run_dir: Path) -> dict[str, Any] | None:
    """Returns the SCHEDULE fields of a run that has already begun, as a dict, or None for a new run."""
    if not has_steps(run_dir):
        return None
    recipe = config_io.from_yaml(run_dir / CONFIG).train
    return {name: getattr(recipe, name) for name in SCHEDULE}


def _measure(
    config: Config,
    *,
    prepare_run: Callable[[Config], tuple[Run, dict[str, Any]]],
    context: RunContext,
    start_time: float,
) -> Cost:
    """Times a few training steps and an evaluation of the first images; returns a `Cost`."""
    before = time.perf_counter()
    run, _ = prepare_run(config)
    preparation = time.perf_counter() - before
    num_steps = min(WARMUP_STEPS + TIMED_STEPS, run.config.train.scaled_steps)
    timer = StepTimer(num_steps, _budget_of(config.train), context)
    values = [np.asarray(variable) for variable in run.model.variables]
    try:
        with batches_of(run.train_set, run.config, context) as (make_batches, _):
            run.model.fit(
                make_batches(0), steps_per_epoch=timer.last_step, shuffle=False, verbose=0, callbacks=[timer]
            )
    finally:  # a model that the user gave must be trained from its original weights
        for variable, value in zip(run.model.variables, values, strict=True):
            variable.assign(value)
    evaluation = _seconds_of_evaluation(run.evaluator) if context.is_chief and run.evaluator else 0.0
    spent = time.perf_counter() - start_time
    return Cost(
        spent=spent,
        start=preparation + timer.seconds_of_graph,
        step=timer.seconds_of_step,
        evaluation=evaluation,
    )


def _seconds_of_evaluation(evaluator: Evaluator) -> float:
    """Returns the estimated seconds to evaluate the validation set and to draw its pictures."""
    before = time.perf_counter()
    evaluator.dry_run()
    seconds = time.perf_counter() - before
    num_images = min(NUM_DRY_RUN_IMAGES, len(evaluator.dataset))
    return seconds / num_images * (len(evaluator.dataset) + NUM_PICTURES)


class StepTimer(StepCallback):
    """Stops a run after a few steps and measures how long they took.

    Args:
        last_step: Maximum number of steps.
        budget: Budget of the whole run, in seconds. Timing stops early after `TIMED_FRACTION` of it, but
            not before the second step.
        context: `RunContext`. All processes stop after the same step.
    """

    def __init__(self, last_step: int, budget: float, context: RunContext) -> None:
        super().__init__(0, last_step)
        self.limit, self.context = TIMED_FRACTION * budget, context
        self.seconds: list[float] = []

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        self.seconds.append(seconds)
        is_over = step > 1 and sum(self.seconds[1:]) > self.limit
        self.model.stop_training = self.context.any(is_over)

    @property
    def seconds_of_step(self) -> float:
        """Mean seconds per step after the first `WARMUP_STEPS`, or after the first if there are fewer."""
        return float(np.mean(self.seconds[WARMUP_STEPS:] or self.seconds[1:] or self.seconds))

    @property
    def seconds_of_graph(self) -> float:
        """Seconds to build the graph: the time of the first step minus the mean of the later steps."""
        return max(0.0, self.seconds[0] - self.seconds_of_step)
