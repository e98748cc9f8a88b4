"""What happens after each step of a run: its row in the log, the check of its losses, the checkpoint.

Keras turns the logs of a step into floats once for all callbacks; that is the only wait for the device.
"""

import csv
import importlib.util
import math
import time

import keras
import tensorflow as tf
from absl import logging

from mask_rcnn.files import atomic_write, room_for
from mask_rcnn.training.checkpoint import save_checkpoint

# TensorBoard keeps a thousand points of a curve, so that each step would be wasted on it.
TENSORBOARD_EVERY = 20


class StepLogs(keras.callbacks.Callback):
    """Makes the logs of each step the values of this step alone, not the means since the first one."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()


class StepCallback(keras.callbacks.Callback):
    """Counts the steps of the whole run from 1, where `fit` counts those of its own call from 0.

    Subclasses have `on_step(step, logs, seconds)`: `logs` is a dict of floats, `seconds` the time that
    the step took with the wait for its data.

    Args:
        first_step: steps that were finished before this call of `fit`.
        last_step: steps of the whole run.

    Attributes:
        step: the last finished step.
    """

    def __init__(self, first_step, last_step):
        super().__init__()
        self.first_step = first_step
        self.last_step = last_step
        self.step = first_step

    def on_train_batch_begin(self, batch, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.first_step + batch + 1
        self.on_step(self.step, logs, time.perf_counter() - self._start)

    def is_due(self, step, every):
        """Whether something done each `every` steps (0: never) and after the last is to be done now."""
        return step == self.last_step or (every > 0 and step % every == 0)


class CsvLog(StepCallback):
    """One row a step: step, all logs, images a second.

    On resume, the rows after the checkpoint are dropped first: their steps come again.

    Args:
        path: the file.
        first_step, last_step: as in `StepCallback`.
        batch_size: images a step.
    """

    def __init__(self, path, first_step, last_step, batch_size):
        super().__init__(first_step, last_step)
        self.path = path
        self.batch_size = batch_size
        keep_lines(path, lambda line: line.startswith("step,") or int(line.split(",")[0]) <= first_step)

    def on_step(self, step, logs, seconds):
        row = {"step": step, "loss": logs["loss"], **logs, "images_per_second": self.batch_size / seconds}
        is_new = not self.path.exists()
        with room_for(self.path), open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow({name: f"{value:.7g}" for name, value in row.items()})


def keep_lines(path, is_kept):
    """Rewrites a log with the whole lines for which `is_kept(line)`; no file is no line."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    # A killed run may leave half a line.
    kept = [line for line in lines if line.endswith("\n") and is_kept(line)]
    with atomic_write(path) as partial:
        partial.write_text("".join(kept))


class TensorBoardLog(StepCallback):
    """The logs of every 20th step as scalars, where `tensorboard` is installed.

    Args:
        folder: of the event files.
        first_step, last_step: as in `StepCallback`.
    """

    def __init__(self, folder, first_step, last_step):
        super().__init__(first_step, last_step)
        self.writer = summary_writer(folder)
        if self.writer is None:
            logging.warning("No TensorBoard logs: `pip install tensorboard` to have them.")

    def on_step(self, step, logs, seconds):
        if self.writer and self.is_due(step, TENSORBOARD_EVERY):
            with self.writer.as_default(step=step):
                for name, value in logs.items():
                    tf.summary.scalar(name, value)


def summary_writer(folder):
    """Returns a writer of TensorBoard's event files, or None where `tensorboard` is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    return tf.summary.create_file_writer(str(folder))


class NanGuard(StepCallback):
    """Stops a run at the first loss that is not finite: no later step could repair the weights.

    Args:
        first_step, last_step: as in `StepCallback`.
        images_of: function from a step, counted from 1, to the names of its images.
        bad_tensor_of: function from a step to a text that names its first tensor that is not finite.
    """

    def __init__(self, first_step, last_step, images_of, bad_tensor_of):
        super().__init__(first_step, last_step)
        self.images_of, self.bad_tensor_of = images_of, bad_tensor_of

    def on_step(self, step, logs, seconds):
        wrong = {name: value for name, value in logs.items() if not math.isfinite(value)}
        if wrong:
            values = ", ".join(f"{name}={value}" for name, value in wrong.items())
            raise ValueError(
                "Every loss of a training step must be finite. "
                f"Received: step={step}, {values}, images={self.images_of(step)}{self._origin(step)}. "
                "The last checkpoint was saved before this step. Look at the boxes of these images, or lower "
                "the learning rate: `--resume --set train.learning_rate=...`; `train.warmup_steps` and "
                "`train.clip_norm` help too."
            )

    def _origin(self, step):
        try:
            found = self.bad_tensor_of(step)
        except Exception as error:
            logging.warning("Where the first value that is not finite comes from is unknown: %s", error)
            found = ""
        return f"; the first that is not finite is {found}" if found else ""


class LossScaleReport(StepCallback):
    """Reports the steps that loss scaling skips: their gradients overflow float16, and the scale is halved.

    The first one is reported at once, and their number at the end.

    Args:
        first_step, last_step: as in `StepCallback`.
    """

    def on_train_begin(self, logs=None):
        self.scale = float(getattr(self.model.optimizer, "dynamic_scale", 0.0))
        self.num_skipped = 0

    def on_step(self, step, logs, seconds):
        scale = logs.get("loss_scale", self.scale)
        if scale < self.scale:
            self.num_skipped += 1
            if self.num_skipped == 1:
                logging.warning(
                    "Step %d is skipped: its gradients overflow float16. The loss scale is lowered to %g. "
                    "Some steps at the start of a run may be; if many are, lower `train.learning_rate`.",
                    step,
                    scale,
                )
        self.scale = scale

    def on_train_end(self, logs=None):
        if self.num_skipped > 1:
            num_steps = self.step - self.first_step
            logging.warning(
                "%d of %d steps were skipped: their gradients overflowed float16. The loss scale is %g now.",
                self.num_skipped,
                num_steps,
                self.scale,
            )


class Checkpointing(StepCallback):
    """Saves the state of the run, also when a signal wants the run to end, and ends it then.

    It comes before an evaluation of the same step: an evaluation that fails costs nothing.

    Args:
        folder: of the checkpoints.
        first_step, last_step: as in `StepCallback`.
        recipe: `TrainConfig` with `checkpoint_every` and `keep_checkpoints`.
        state: dict of the run, in which `step` is kept up to date.
        stop: the `StopSignals` of the run.
        context: `RunContext`; only the chief writes, and the others wait for it before they end.
    """

    def __init__(self, folder, first_step, last_step, recipe, state, stop, context):
        super().__init__(first_step, last_step)
        self.folder, self.recipe, self.state, self.stop = folder, recipe, state, stop
        self.context = context

    def on_step(self, step, logs, seconds):
        received = self.stop.agreed(self.context)
        if received or self.is_due(step, self.recipe.checkpoint_every):
            self._save(step)
        if received:
            self.context.wait()
            self.stop.end_program(f"Saved after step {step} of {self.last_step}. Continue with `--resume`.")

    def on_epoch_end(self, epoch, logs=None):
        """Saves the last step of a run that another callback ended early."""
        if self.step > self.state["step"]:
            self._save(self.step)

    def _save(self, step):
        self.state["step"] = step
        if self.context.is_chief:
            save_checkpoint(self.folder, self.model, self.state, self.recipe.keep_checkpoints)


class StopTogether(StepCallback):
    """Ends the run in all processes when a callback has ended it in one of them.

    Args:
        first_step, last_step: as in `StepCallback`.
        context: `RunContext`.
    """

    def __init__(self, first_step, last_step, context):
        super().__init__(first_step, last_step)
        self.context = context

    def on_step(self, step, logs, seconds):
        self.model.stop_training = self.context.any(self.model.stop_training)
