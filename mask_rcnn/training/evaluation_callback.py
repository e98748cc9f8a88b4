"""Keras callback that evaluates on the validation set during training and saves the best weights."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from mask_rcnn.config import TrainConfig
from mask_rcnn.errors import short_message
from mask_rcnn.system.files import disk_full_errors
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.callbacks import keep_lines, summary_writer
from mask_rcnn.training.evaluator import LOSS_PREFIX, Evaluator
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.optimizer import averaged_weights
from mask_rcnn.training.run_folder import BEST_WEIGHTS, METRICS, TENSORBOARD
from mask_rcnn.training.signals import StopSignals
from mask_rcnn.training.step_callback import StepCallback

LOGGED_SIDE = 640  # maximum long side of a picture in TensorBoard's files, in pixels


class EvaluationCallback(StepCallback):
    """Evaluates on the validation set every `evaluate_every` steps, except after the last step.

    The caller of `fit` evaluates after the last step. If an evaluation fails, the error is logged,
    `metrics.jsonl` gets a line `{"step": ..., "error": text}`, and training goes on. The checkpoint of its
    step is already saved, and the evaluation would fail again after each resume. All processes evaluate, and
    only the chief writes.

    Args:
        run_dir: `Path` of the run folder.
        first_step, last_step: As in `StepCallback`.
        recipe: `TrainConfig` with `evaluate_every` and `patience`.
        evaluator: `Evaluator`.
        stop_signals: `StopSignals` of the run.
    """

    if TYPE_CHECKING:
        model: MaskRCNN  # set by `fit`

    def __init__(
        self,
        run_dir: Path,
        first_step: int,
        last_step: int,
        *,
        recipe: TrainConfig,
        evaluator: Evaluator,
        stop_signals: StopSignals,
    ) -> None:
        super().__init__(first_step, last_step)
        self.run_dir, self.evaluator, self.stop_signals = run_dir, evaluator, stop_signals
        self.every, self.patience = recipe.evaluate_every, recipe.patience
        if evaluator.context.is_chief:
            keep_lines(run_dir / METRICS, lambda line: json.loads(line)["step"] <= first_step)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Runs the evaluation of the checkpoint from which the run resumes, if it was due and is missing."""
        context, is_missing = self.evaluator.context, False
        if context.is_chief and self.first_step > 0:
            lines = _read_lines(self.run_dir / METRICS)
            is_missing = all(line["step"] != self.first_step for line in lines)
        if context.any(is_missing):
            self._evaluate_if_due(self.first_step)

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        self._evaluate_if_due(step)

    def _evaluate_if_due(self, step: int) -> None:
        if step == self.last_step or not self.is_due(step, self.every):
            return
        is_chief = self.evaluator.context.is_chief
        try:
            with self.stop_signals.nothing_to_save(), averaged_weights(self.model):
                evaluate_step(self.model, self.evaluator, self.run_dir, step=step, last_step=self.last_step)
                if is_chief and is_out_of_patience(self.run_dir, self.evaluator, self.patience):
                    self.model.stop_training = True
        except tf.errors.UnavailableError:
            raise  # another process has ended, see `report_lost_process`
        except Exception as error:
            reason = f"{type(error).__name__}: {short_message(error)}"
            logging.error("The evaluation after step %d failed: %s. Training goes on.", step, reason)
            if is_chief:
                _append(self.run_dir / METRICS, {"step": step, "error": reason})


def evaluate_step(
    model: MaskRCNN,
    evaluator: Evaluator,
    run_dir: Path,
    *,
    step: int,
    last_step: int,
    pictures_dir: Path | None = None,
) -> None:
    """Evaluates the current weights after `step` and saves them if they are the best so far.

    It adds a line to `metrics.jsonl`: `{"step": ..., name: number, ...}`. An earlier line of the same step is
    replaced. Only the chief writes.

    Args:
        model: `MaskRCNN`.
        evaluator: Its `Evaluator`.
        run_dir: `Path` of the run folder.
        step, last_step: Number of the current step, and of the last step of the run.
        pictures_dir: `Path` of a folder for PNG pictures. Defaults to None: TensorBoard only.
    """
    path, is_chief = run_dir / METRICS, evaluator.context.is_chief
    if is_chief:
        keep_lines(path, lambda line: json.loads(line)["step"] < step)
    metrics = {**evaluator.evaluate(), **evaluator.losses(model)}
    if not is_chief:
        return
    earlier = _metric_history(path, evaluator.best_by)
    score = metrics[evaluator.best_by]
    # As long as no evaluation has a score, the latest weights are kept as the best.
    is_best = not earlier or (score is not None and _sign(evaluator.best_by) * score > max(earlier))
    if is_best:
        model.save_weights(run_dir / BEST_WEIGHTS)
    _append(path, {"step": step, **metrics})
    _write_summary(run_dir / TENSORBOARD, evaluator, step=step, metrics=metrics, pictures_dir=pictures_dir)
    if score is None:
        result = f"{evaluator.best_by} is not measurable"
    else:
        note = "the best so far" if is_best else f"best {abs(max(earlier)):.4f}"
        result = f"{evaluator.best_by} {score:.4f} ({note})"
    print_line(f"step {step}/{last_step}  {result}")


def is_out_of_patience(run_dir: Path, evaluator: Evaluator, patience: int) -> bool:
    """Returns whether none of the last `patience` evaluations was better than the best one before them.

    Args:
        run_dir: `Path` of the run folder.
        evaluator: `Evaluator`.
        patience: Number of evaluations, as `train.patience`. With 0 the result is always False.
    """
    history = _metric_history(run_dir / METRICS, evaluator.best_by)
    if not patience or len(history) <= patience or max(history[-patience:]) > max(history[:-patience]):
        return False
    print_line(
        f"The run ends: {evaluator.best_by} was not better in {patience} evaluations (`train.patience`)."
    )
    return True


def _metric_history(path: Path, name: str) -> list[float]:
    """Returns the values of a metric in `metrics.jsonl`. Losses are negated, so that higher is better."""
    values = (line.get(name) for line in _read_lines(path))
    return [_sign(name) * value for value in values if value is not None]


def _sign(name: str) -> int:
    return -1 if name.startswith(LOSS_PREFIX) else 1


def _write_summary(
    folder: Path,
    evaluator: Evaluator,
    *,
    step: int,
    metrics: dict[str, float | None],
    pictures_dir: Path | None,
) -> None:
    """Writes scores and pictures for TensorBoard, if it is installed, and the pictures as PNG files.

    Args:
        folder: `Path` for TensorBoard's files.
        evaluator, step, pictures_dir: As in `evaluate_step`.
        metrics: `{name: number, or None if not measurable}`.
    """
    writer = summary_writer(folder)
    if writer is None and not pictures_dir:
        return
    if pictures_dir:
        pictures_dir.mkdir(parents=True, exist_ok=True)
    with writer.as_default(step=step) if writer else contextlib.nullcontext():
        if writer:
            _log_scores(metrics)
        for record, picture in evaluator.pictures():
            if pictures_dir:
                Image.fromarray(picture).save(pictures_dir / f"{record.path.stem}.png")
            if writer:
                _log_picture(record.path.stem, picture)
    if writer:
        writer.close()


def _log_scores(metrics: dict[str, float | None]) -> None:
    for name, value in metrics.items():
        if value is not None:
            tf.summary.scalar(name, value)


def _log_picture(name: str, picture: np.ndarray) -> None:
    side = max(picture.shape[:2])
    size = np.maximum(np.multiply(picture.shape[:2], min(1, LOGGED_SIDE / side)).astype(int), 1)
    small = Image.fromarray(picture).resize(size[::-1].tolist())
    tf.summary.image(name, np.asarray(small)[None])


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path: Path, line: dict[str, Any]) -> None:
    with disk_full_errors(path), open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
