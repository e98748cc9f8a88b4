"""The learning rate of each step: a linear warm-up, then a tenth of it from each milestone on."""

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
        warmth = ops.minimum(step / max(self.warmup_steps, 1), 1.0) if self.warmup_steps else 1.0
        rate = self.learning_rate * (self.warmup_factor + (1.0 - self.warmup_factor) * warmth)
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
