"""Base class of callbacks that count the steps of a whole run, and the reset of the logs before each step.

Keras converts the logs of a step to floats once for all callbacks. This conversion is the only wait for the
device in a step.
"""

import time
from typing import TYPE_CHECKING

import keras

from mask_rcnn.training.trainer import Trainer


class StepLogs(keras.callbacks.Callback):
    """Resets the metrics before each step, so that the logs hold the values of this step alone.

    Without it, Keras logs the means since the start of the epoch.
    """

    if TYPE_CHECKING:
        model: Trainer  # set by `fit`

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.model.reset_metrics()


class StepCallback(keras.callbacks.Callback):
    """Base class for callbacks that count the steps of the whole run from 1.

    Keras counts the steps of each call of `fit` from 0. Subclasses implement `on_step`.

    Args:
        first_step: Number of steps that were finished before this call of `fit`.
        last_step: Number of steps of the whole run.

    Attributes:
        step: The last finished step.
    """

    if TYPE_CHECKING:
        model: Trainer  # set by `fit`

    def __init__(self, first_step: int, last_step: int) -> None:
        super().__init__()
        self.first_step = first_step
        self.last_step = last_step
        self.step = first_step

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step = self.first_step + batch + 1
        self.on_step(self.step, logs or {}, time.perf_counter() - self._start)

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        """Called after each step. Subclasses implement it.

        Args:
            step: Number of the finished step, from 1.
            logs: `{name: number}` of the step.
            seconds: Duration of the step, including the wait for its data.
        """
        raise NotImplementedError

    def is_due(self, step: int, every: int) -> bool:
        """Returns whether an action that runs every `every` steps and after the last step is due now.

        With `every=0`, it runs after the last step only.
        """
        return step == self.last_step or (every > 0 and step % every == 0)
