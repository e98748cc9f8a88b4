"""The evaluations of a run: one line of JSON each, and the weights of the best one."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from absl import logging

from mask_rcnn.errors import short_message
from mask_rcnn.terminal import say
from mask_rcnn.training.callbacks import StepCallback, keep_lines


@dataclass(frozen=True)
class Validation:
    """How a run is judged.

    Attributes:
        evaluate: Function without arguments that returns a dict of numbers; None is not measurable.
        best_by: Which of them is compared to find the best weights; larger is better.
        save_best: Function without arguments that saves the weights.
    """

    evaluate: Callable
    best_by: str
    save_best: Callable


class Evaluation(StepCallback):
    """Evaluates every `every` steps; after the last step the caller of `fit` does.

    An evaluation that fails is logged, and training goes on: the checkpoint of its step is saved already,
    and what failed once would fail again after each resume.

    Args:
        path: File of JSON lines, as `evaluate_step` writes it.
        first_step, last_step: As in `StepCallback`.
        every: Steps; 0 is only after the last step.
        validation: A `Validation`.
        stop: The `StopSignals` of the run.
    """

    def __init__(self, path, first_step, last_step, every, validation, stop):
        super().__init__(first_step, last_step)
        self.path, self.every, self.validation, self.stop = path, every, validation, stop
        keep_lines(path, lambda line: json.loads(line)["step"] <= first_step)

    def on_train_begin(self, logs=None):
        """Makes up for an evaluation that was due at the checkpoint which the run is resumed from."""
        if self.first_step > 0 and all(line["step"] != self.first_step for line in _read_lines(self.path)):
            self.on_step(self.first_step, None, None)

    def on_step(self, step, logs, seconds):
        if step == self.last_step or not self.is_due(step, self.every):
            return
        try:
            with self.stop.nothing_to_save():
                evaluate_step(self.path, step, self.last_step, self.validation)
        except Exception as error:
            reason = f"{type(error).__name__}: {short_message(error)}"
            logging.error("The evaluation after step %d failed: %s. Training goes on.", step, reason)
            _append(self.path, {"step": step, "error": reason})


def evaluate_step(path, step, last_step, validation):
    """Evaluates the weights as they are after `step`, and saves them if they are the best so far.

    Args:
        path: File of JSON lines, `{"step": ..., name: number, ...}`, or `{"step": ..., "error": text}` for an
            evaluation that failed. A line of the same step is replaced.
        step, last_step: Of the run.
        validation: A `Validation`.
    """
    keep_lines(path, lambda line: json.loads(line)["step"] < step)
    metrics = validation.evaluate()
    score = metrics[validation.best_by]
    earlier = (line.get(validation.best_by) for line in _read_lines(path))
    best = max((value for value in earlier if value is not None), default=None)
    # Without a score nothing tells which weights are better: the latest are kept.
    is_best = best is None or (score is not None and score > best)
    if is_best:
        validation.save_best()
    _append(path, {"step": step, **metrics})
    if score is None:
        result = f"{validation.best_by} is not measurable"
    else:
        note = "the best so far" if is_best else f"best {best:.4f}"
        result = f"{validation.best_by} {score:.4f} ({note})"
    say(f"step {step}/{last_step}  {result}")


def _read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path, line):
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
