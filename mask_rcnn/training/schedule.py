"""Learning rate schedules: linear warm-up followed by step decay or cosine decay."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="mask_rcnn")
class WarmupSteps(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up (Goyal et al. 2017, section 2.2) and step decay (Mask R-CNN, section 3.1).

    Steps count from 0. The step whose number is a milestone is the first one with the lower rate.

    Args:
        learning_rate: Float, the rate after the warm-up.
        milestones: Tuple of steps at which the rate is divided by ten. Defaults to none.
        warmup_steps: Number of warm-up steps, so also the first step with the full rate. Defaults to 0: no
            warm-up.
        warmup_factor: Fraction of the rate at step 0 of the warm-up. Defaults to 0.001.
    """

    def __init__(
        self,
        learning_rate: float,
        milestones: Sequence[int] = (),
        *,
        warmup_steps: int = 0,
        warmup_factor: float = 0.001,
    ) -> None:
        self.learning_rate = learning_rate
        self.milestones = tuple(milestones)
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        step_number: Any = ops.cast(step, "float32")
        rate: Any = self.learning_rate * _warm_up(step_number, self.warmup_steps, self.warmup_factor)
        for milestone in self.milestones:
            rate = ops.where(step_number >= milestone, rate * 0.1, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "milestones": self.milestones,
            "warmup_steps": self.warmup_steps,
            "warmup_factor": self.warmup_factor,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up and cosine decay to 0 (Loshchilov and Hutter 2017, equation 5).

    Args:
        learning_rate: Float, the rate at the start of the decay.
        steps: Step, counted from 0, at which the rate reaches 0.
        warmup_steps: Number of warm-up steps. Warm-up and decay are multiplied. Defaults to 0: no warm-up.
        warmup_factor: Fraction of the rate at step 0 of the warm-up. Defaults to 0.001.
    """

    def __init__(
        self, learning_rate: float, steps: int, *, warmup_steps: int = 0, warmup_factor: float = 0.001
    ) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        step_number: Any = ops.cast(step, "float32")
        progress: Any = ops.minimum(step_number / self.steps, 1.0)
        cosine: Any = ops.cos(math.pi * progress)
        rate = self.learning_rate * 0.5 * (1.0 + cosine)
        return rate * _warm_up(step_number, self.warmup_steps, self.warmup_factor)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "warmup_factor": self.warmup_factor,
        }


def _warm_up(step: Any, steps: int, factor: float) -> Any:
    """Returns the warm-up factor of the learning rate at a float32 step."""
    if not steps:
        return 1.0
    progress: Any = ops.minimum(step / steps, 1.0)
    return factor + (1.0 - factor) * progress
