"""Callbacks of the training loop: logs, the check for NaN, checkpoints."""

import csv
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from mask_rcnn.config import TrainConfig
from mask_rcnn.system.files import atomic_write, disk_full_errors
from mask_rcnn.training.checkpoint import save_checkpoint
from mask_rcnn.training.processes import RunContext
from mask_rcnn.training.signals import StopSignals
from mask_rcnn.training.step_callback import StepCallback

# TensorBoard shows about a thousand points of a curve, so logging every step would only waste space.
TENSORBOARD_EVERY = 20


class CsvLog(StepCallback):
    """Appends one row per step to a CSV file: step, loss, the other logs, images per second.

    On resume, rows after the checkpoint are removed first because those steps run again.

    Args:
        path: `Path` of the CSV file.
        first_step, last_step: As in `StepCallback`.
        batch_size: Number of images per step.
    """

    def __init__(self, path: Path, first_step: int, last_step: int, *, batch_size: int) -> None:
        super().__init__(first_step, last_step)
        self.path = path
        self.batch_size = batch_size
        keep_lines(path, lambda line: line.startswith("step,") or int(line.split(",")[0]) <= first_step)

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        row = {"step": step, "loss": logs["loss"], **logs, "images_per_second": self.batch_size / seconds}
        is_new = not self.path.exists()
        with disk_full_errors(self.path), open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow({name: f"{value:.7g}" for name, value in row.items()})


def keep_lines(path: Path, is_kept: Callable[[str], bool]) -> None:
    """Rewrites a text file with only the complete lines for which `is_kept(line)` is true.

    Args:
        path: `Path` of the file. If it does not exist, nothing happens.
        is_kept: Function from a line, with its newline, to a bool.
    """
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    # A killed run may leave an incomplete last line.
    kept = [line for line in lines if line.endswith("\n") and is_kept(line)]
    with atomic_write(path) as partial:
        partial.write_text("".join(kept))


class TensorBoardLog(StepCallback):
    """Writes the logs of every 20th step as TensorBoard scalars. Warns if `tensorboard` is not installed.

    Args:
        folder: Folder for the event files.
        first_step, last_step: As in `StepCallback`.
    """

    def __init__(self, folder: Path, first_step: int, last_step: int) -> None:
        super().__init__(first_step, last_step)
        self.writer = summary_writer(folder)
        if self.writer is None:
            logging.warning("No TensorBoard logs: `pip install tensorboard` to have them.")

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        if self.writer and self.is_due(step, TENSORBOARD_EVERY):
            with self.writer.as_default(step=step):
                for name, value in logs.items():
                    tf.summary.scalar(name, value)


def summary_writer(folder: Path) -> tf.summary.SummaryWriter | None:
    """Returns a `tf.summary` writer for a folder, or None if `tensorboard` is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    return tf.summary.create_file_writer(str(folder))


class NanGuard(StepCallback):
    """Stops a run with an error at the first loss that is NaN or infinite.

    No later step could repair the weights.

    Args:
        first_step, last_step: As in `StepCallback`.
        images_of: Function from a step, counted from 1, to the names of its images, for the error message.
        bad_tensor_of: Function from a step, counted from 1, to a text that names the first tensor with NaN or
            infinity, or "" if there is none.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int,
        *,
        images_of: Callable[[int], object],
        bad_tensor_of: Callable[[int], str],
    ) -> None:
        super().__init__(first_step, last_step)
        self.images_of, self.bad_tensor_of = images_of, bad_tensor_of

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        not_finite = {name: value for name, value in logs.items() if not math.isfinite(value)}
        if not_finite:
            values = ", ".join(f"{name}={value}" for name, value in not_finite.items())
            raise ValueError(
                "Every loss of a training step must be finite. "
                f"Received: step={step}, {values}, images={self.images_of(step)}{self._origin(step)}. "
                "The last checkpoint was saved before this step. Check the boxes of these images, or lower "
                "the learning rate: `--resume --set train.learning_rate=...`; `train.warmup_steps` and "
                "`train.clip_norm` can also help."
            )

    def _origin(self, step: int) -> str:
        try:
            bad_tensor = self.bad_tensor_of(step)
        except Exception as error:
            logging.warning("The origin of the first NaN or infinity could not be found: %s", error)
            bad_tensor = ""
        return f"; the first value that is not finite is in {bad_tensor}" if bad_tensor else ""


class LossScaleReport(StepCallback):
    """Logs the steps that loss scaling skips because their gradients overflow float16.

    Keras lowers the loss scale after each such step. The first skipped step is logged at once, and the number
    of all skipped steps at the end.

    Args:
        first_step, last_step: As in `StepCallback`.
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.scale = float(getattr(self.model.optimizer, "dynamic_scale", 0.0))
        self.num_skipped = 0

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        scale = logs.get("loss_scale", self.scale)
        if scale < self.scale:
            self.num_skipped += 1
            if self.num_skipped == 1:
                logging.warning(
                    "Step %d is skipped: its gradients overflow float16. The loss scale is lowered to %g. "
                    "A few such steps at the start are normal. If there are many, lower "
                    "`train.learning_rate`.",
                    step,
                    scale,
                )
        self.scale = scale

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.num_skipped > 1:
            num_steps = self.step - self.first_step
            logging.warning(
                "%d of %d steps were skipped: their gradients overflowed float16. The loss scale is %g now.",
                self.num_skipped,
                num_steps,
                self.scale,
            )


class Checkpointing(StepCallback):
    """Saves checkpoints. After a stop signal it saves one more checkpoint and ends the run.

    It runs before an evaluation of the same step, so a failed evaluation loses no training.

    Args:
        folder: `Path` for the checkpoints.
        first_step, last_step: As in `StepCallback`.
        recipe: `TrainConfig` with `checkpoint_every` and `keep_checkpoints`.
        state: Dict of the run. Its `step` is updated at each checkpoint.
        stop_signals: The `StopSignals` of the run.
        context: `RunContext`. Only the chief writes. The other processes wait for it before they end.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        last_step: int,
        *,
        recipe: TrainConfig,
        state: dict[str, Any],
        stop_signals: StopSignals,
        context: RunContext,
    ) -> None:
        super().__init__(first_step, last_step)
        self.folder, self.recipe, self.state = folder, recipe, state
        self.stop_signals, self.context = stop_signals, context

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        received = self.stop_signals.received_by_any(self.context)
        if received or self.is_due(step, self.recipe.checkpoint_every):
            self._save(step)
        if received:
            self.context.wait()
            self.stop_signals.end_program(
                f"Saved after step {step} of {self.last_step}. Continue with `--resume`."
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves the last step of a run that another callback ended early."""
        if self.step > self.state["step"]:
            self._save(self.step)

    def _save(self, step: int) -> None:
        self.state["step"] = step
        if self.context.is_chief:
            save_checkpoint(self.folder, self.model, self.state, keep=self.recipe.keep_checkpoints)


class StopAllProcesses(StepCallback):
    """Stops the run in all processes when a callback has stopped it in one process.

    Args:
        first_step, last_step: As in `StepCallback`.
        context: `RunContext`.
    """

    def __init__(self, first_step: int, last_step: int, context: RunContext) -> None:
        super().__init__(first_step, last_step)
        self.context = context

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        self.model.stop_training = self.context.any(self.model.stop_training)
