"""Training within a time budget: times a few steps and scales the schedule to fit the budget."""

import dataclasses
import gc
import math
import time

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.config.ranges import RANGES
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.batches import batches_of
from mask_rcnn.training.callbacks import StepCallback
from mask_rcnn.training.run_folder import CONFIG, has_steps
from mask_rcnn.training.validation import NUM_PICTURES, NUM_REHEARSED

# Fields of `TrainConfig` that a budget sets.
SCHEDULE = ("budget", "steps", "milestones", "warmup_steps", "ema_decay")
WARM_STEPS = 4  # not timed: the first builds the graph, the next ones fill caches and the queue of batches
TIMED_STEPS = 11
TIMED_SHARE = 0.1  # of the budget: timing stops early, with fewer steps, after this share
RESERVE = 0.05  # of the time left for steps: later steps may be slower, and checkpoints take time


def within_budget(config, run_dir, prepare_run, context, started):
    """Returns a `Config` with as many steps as fit into `train.budget`, and a schedule scaled to them.

    The number of steps comes from timing a few steps of the run. The weights of a given model are restored
    after the timing, and a model that was built for it is discarded. So the run is the same as a run of the
    returned config. A run that has already begun keeps its original schedule.

    Args:
        config: `Config` with a `train.budget`, in seconds.
        run_dir: `Path` of the run folder.
        prepare_run: Function from a `Config` to a `Run` and its state, as `preflight` returns them.
        context: `RunContext`.
        started: Value of `time.perf_counter()` at the start of the run.

    Returns:
        `Config` without a budget.

    Raises:
        ValueError: The budget is too short for one step.
    """
    kept = context.gather(_kept_schedule(run_dir) if context.is_chief else None)[0]
    if kept is None:
        cost = _measure(config, prepare_run, context, started)
        gc.collect()  # frees the model that was timed
        steps = context.gather(cost.steps_within(config.train) if context.is_chief else 0)[0]
        cost.check(config.train.budget, steps)
        recipe = scaled(config.train, steps)
        if context.is_chief:
            print_line(cost.describe(config.train, recipe))
    else:
        recipe = config_io.override_all(config, {f"train.{name}": kept[name] for name in kept}).train
        if context.is_chief:
            print_line(
                f"The run keeps the {recipe.scaled_steps} steps that fitted into its budget at its start."
            )
    return dataclasses.replace(config, train=recipe)


def scaled(recipe, steps):
    """Returns a `TrainConfig` with another number of steps; milestones, warm-up and EMA decay are scaled too.

    Args:
        recipe: `TrainConfig`.
        steps: New number of steps of the run, in the unit of `scaled_steps`.
    """
    factor = steps / recipe.scaled_steps
    limits = RANGES["TrainConfig"]["ema_decay"]
    ema_decay = (
        recipe.ema_decay and 1 - (1 - recipe.ema_decay) / factor
    )  # scales the window of the average, 1 / (1 - decay) steps
    return dataclasses.replace(
        recipe,
        budget=None,
        steps=max(1, round(steps * recipe.scale)),
        milestones=tuple(sorted({max(1, round(step * factor)) for step in recipe.milestones})),
        warmup_steps=round(recipe.warmup_steps * factor),
        ema_decay=ema_decay and min(max(ema_decay, limits.low), limits.high),
    )


@dataclasses.dataclass(frozen=True)
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

    def steps_within(self, recipe):
        """Returns how many steps fit into `recipe.budget`, less than 1 if it is too short."""
        left = recipe.budget - self.spent - self.start - self.evaluation
        each = self.step + (self.evaluation / recipe.evaluate_every if recipe.evaluate_every else 0.0)
        return math.floor((1 - RESERVE) * left / each)

    def check(self, budget, steps):
        """Raises a ValueError if the budget is too short for one step."""
        if steps < 1:
            needed = self.spent + self.start + self.evaluation + self.step / (1 - RESERVE)
            raise ValueError(
                "`train.budget` must have time for the start, a step and an evaluation, here "
                f"{needed:.0f} s. Received: {budget:g} s. Increase it, or evaluate on fewer images."
            )

    def describe(self, recipe, chosen):
        """Returns a line for the log with the number of steps that fit into the budget.

        Args:
            recipe: `TrainConfig` with the budget.
            chosen: The `TrainConfig` scaled to the budget.
        """
        return (
            f"{recipe.budget:g} s are enough for {chosen.scaled_steps} steps of {self.step:.3g} s instead of "
            f"{recipe.scaled_steps}, with {self.spent + self.start:.0f} s for the start and "
            f"{self.evaluation:.0f} s for each evaluation; the schedule is scaled to them."
        )


def _kept_schedule(run_dir):
    """Returns the SCHEDULE fields of a run that has already begun, as a dict, or None for a new run."""
    if not has_steps(run_dir):
        return None
    recipe = config_io.from_yaml(run_dir / CONFIG).train
    return {name: getattr(recipe, name) for name in SCHEDULE}


def _measure(config, prepare_run, context, started):
    """Times a few training steps and an evaluation of the first images; returns a `Cost`."""
    begun = time.perf_counter()
    run, _ = prepare_run(config)
    prepared = time.perf_counter() - begun
    timer = StepTimer(
        min(WARM_STEPS + TIMED_STEPS, run.config.train.scaled_steps), config.train.budget, context
    )
    values = [np.asarray(variable) for variable in run.model.variables]
    try:
        with batches_of(run.train_set, run.config, context) as (make_batches, _):
            run.model.fit(
                make_batches(0), steps_per_epoch=timer.last_step, shuffle=False, verbose=0, callbacks=[timer]
            )
    finally:  # a model that the user gave must be trained from its original weights
        for variable, value in zip(run.model.variables, values, strict=True):
            variable.assign(value)
    evaluation = _seconds_of_evaluation(run.validator) if context.is_chief and run.validator else 0.0
    spent = time.perf_counter() - started
    return Cost(spent, prepared + timer.seconds_of_graph, timer.seconds_of_step, evaluation)


def _seconds_of_evaluation(validator):
    """Returns the estimated seconds to evaluate the validation set and to draw its pictures."""
    begun = time.perf_counter()
    validator.rehearse()
    seconds = time.perf_counter() - begun
    num_images = min(NUM_REHEARSED, len(validator.dataset))
    return seconds / num_images * (len(validator.dataset) + NUM_PICTURES)


class StepTimer(StepCallback):
    """Stops a run after a few steps and measures how long they took.

    Args:
        last_step: Maximum number of steps.
        budget: Budget of the whole run, in seconds. Timing stops early after `TIMED_SHARE` of it, but not
            before the second step.
        context: `RunContext`. All processes stop after the same step.
    """

    def __init__(self, last_step, budget, context):
        super().__init__(0, last_step)
        self.limit, self.context = TIMED_SHARE * budget, context
        self.seconds = []

    def on_step(self, step, logs, seconds):
        self.seconds.append(seconds)
        is_over = step > 1 and sum(self.seconds[1:]) > self.limit
        self.model.stop_training = self.context.any(is_over)

    @property
    def seconds_of_step(self):
        """Mean seconds per step after the first `WARM_STEPS`, or after the first if there are fewer."""
        return float(np.mean(self.seconds[WARM_STEPS:] or self.seconds[1:] or self.seconds))

    @property
    def seconds_of_graph(self):
        """Seconds to build the graph: the time of the first step minus the mean of the later steps."""
        return max(0.0, self.seconds[0] - self.seconds_of_step)
