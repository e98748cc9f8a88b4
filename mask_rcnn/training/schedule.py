"""The learning rate of each step: a linear warm-up, then steps or a cosine down."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mask_rcnn")
class WarmupSteps(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up (Goyal et al. 2017, section 2.2) and step decay (Mask R-CNN, section 3.1).

    Steps count from 0; the step whose number is a milestone is the first with the lower rate.

    Args:
        learning_rate: the rate after the warm-up.
        milestones: steps at which the rate is divided by ten.
        warmup_steps: the first step with the whole rate; 0 is no warm-up.
        warmup_factor: the part of the rate that step 0 gets.
    """

    def __init__(self, learning_rate, milestones=(), warmup_steps=0, warmup_factor=0.001):
        self.learning_rate = learning_rate
        self.milestones = tuple(milestones)
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = self.learning_rate * _warm_up(step, self.warmup_steps, self.warmup_factor)
        for milestone in self.milestones:
            rate = ops.where(step >= milestone, rate * 0.1, rate)
        return rate

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "milestones": self.milestones,
            "warmup_steps": self.warmup_steps,
            "warmup_factor": self.warmup_factor,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, and half a cosine from the whole rate to 0 (Loshchilov and Hutter 2017, equation 5).

    Args:
        learning_rate: the rate after the warm-up.
        steps: the step, from 0, at which the rate would be 0.
        warmup_steps: the first step without warm-up; 0 is no warm-up.
        warmup_factor: the part of the rate that step 0 gets.
    """

    def __init__(self, learning_rate, steps, warmup_steps=0, warmup_factor=0.001):
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = ops.minimum(step / self.steps, 1.0)
        rate = self.learning_rate * 0.5 * (1.0 + ops.cos(math.pi * done))
        return rate * _warm_up(step, self.warmup_steps, self.warmup_factor)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "warmup_factor": self.warmup_factor,
        }


def _warm_up(step, steps, factor):
    """Returns the part of the rate that a float32 step of the warm-up gets."""
    if not steps:
        return 1.0
    return factor + (1.0 - factor) * ops.minimum(step / steps, 1.0)
