"""Optimizers for detection: SGD with coupled weight decay, and AdamW.

Keras's `SGD(weight_decay=...)` applies weight decay outside of the momentum, and its momentum contains the
learning rate. So after a milestone, earlier steps still act with the higher rate. Published schedules assume
the rule of torch and Caffe2, which `CoupledSGD` implements. Keras optimizers clip the gradient of each
replica before the sum over the replicas. The optimizers here clip the sum.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.config import TrainConfig
from mask_rcnn.training.schedule import WarmupCosine, WarmupSteps

# Keras's names for the scale and the offset of normalization layers.
NORM_VARIABLES = ("gamma", "beta")

LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


class DetectionOptimizer(keras.optimizers.Optimizer):
    """Base class of optimizers that clip the summed gradient, keep weight averages and skip bad gradients.

    List it before the Keras optimizer in the bases of a class. If the gradient of a variable holds NaN or
    infinity, the variable stays unchanged in this step.

    Args:
        weight_decay: Weight decay of kernels and biases. Defaults to 0.
        norm_weight_decay: Weight decay of gamma and beta of normalization layers. Defaults to 0.
        clip_norm: Maximum global norm of the gradient after the sum over the replicas. Weight decay is added
            after clipping. Defaults to None: no clipping.
        kwargs: Arguments of the Keras optimizer. With `use_ema`, the decay of the average in step t, counted
            from 0, is min(`ema_momentum`, t / (9 + t)). So the average soon forgets the initial weights.
    """

    def __init__(
        self,
        *,
        weight_decay: float = 0.0,
        norm_weight_decay: float = 0.0,
        clip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)  # without `weight_decay`, because Keras applies it by another rule
        self.kernel_decay = weight_decay
        self.norm_weight_decay = norm_weight_decay
        self.clip_norm = clip_norm

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        self._decays = [
            self.norm_weight_decay if variable.name in NORM_VARIABLES else self.kernel_decay
            for variable in variables
        ]
        super().build(variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        # The only hook of Keras 3 after the sum over the replicas and before the update.
        grads_and_vars = super()._all_reduce_sum_gradients(grads_and_vars)
        if self.clip_norm is None:
            return grads_and_vars
        gradients, variables = zip(*grads_and_vars, strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        return list(zip(clipped, variables, strict=True))

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        """Does nothing: `update_step` updates the averages, which saves another sum over the replicas."""

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        learning_rate = tf.cast(learning_rate, variable.dtype)
        # The dependency delays these operations until the gradient exists. Otherwise TensorFlow would compute
        # the products early and hold them in memory for the whole step.
        with tf.control_dependencies([gradient]):
            is_finite = tf.reduce_all(tf.math.is_finite(gradient))
            gradient, learning_rate = (tf.where(is_finite, each, 0.0) for each in (gradient, learning_rate))
            gradient, decay = tf.cast(gradient, variable.dtype), self._decays[index]
            self.descend(gradient, variable, learning_rate=learning_rate, decay=decay)
            if self.use_ema:
                average = self._model_variables_moving_average[index]
                step = tf.cast(self.iterations, variable.dtype)
                weight = 1.0 - tf.minimum(tf.cast(self.ema_momentum, variable.dtype), step / (step + 9.0))
                self.assign_add(average, weight * (variable - average))

    def descend(
        self, gradient: tf.Tensor, variable: keras.Variable, *, learning_rate: tf.Tensor, decay: float
    ) -> None:
        """Updates a variable. Subclasses implement it.

        Args:
            gradient: Gradient of the variable, with its shape and dtype.
            variable: `keras.Variable`.
            learning_rate: Scalar of the dtype of the variable. 0 if the gradient is not finite.
            decay: Weight decay of the variable.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_decay": self.kernel_decay,
            "norm_weight_decay": self.norm_weight_decay,
            "clip_norm": self.clip_norm,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class CoupledSGD(DetectionOptimizer, keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient, as in torch and Caffe2.

    `momentum = m * momentum + (gradient + decay * w)`, then `w = w - rate * momentum`.

    Args:
        learning_rate: Float or learning rate schedule. Defaults to 0.01.
        momentum: `m`, in [0, 1]. Defaults to 0.
        kwargs: Arguments of `DetectionOptimizer`.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        *,
        name: str = "coupled_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)

    def descend(
        self, gradient: tf.Tensor, variable: keras.Variable, *, learning_rate: tf.Tensor, decay: float
    ) -> None:
        update = gradient + decay * variable
        if self.momentum:
            momentum = self.momentums[self._get_variable_index(variable)]
            update += self.momentum * momentum
            self.assign(momentum, update)
        self.assign_sub(variable, learning_rate * update)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["nesterov"]
        return config


@keras.saving.register_keras_serializable(package="mask_rcnn")
class AdamW(DetectionOptimizer, keras.optimizers.Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    Args:
        learning_rate: Float or learning rate schedule. Defaults to 0.001.
        kwargs: Arguments of `DetectionOptimizer` and of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: LearningRate = 0.001, *, name: str = "adamw", **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def descend(
        self, gradient: tf.Tensor, variable: keras.Variable, *, learning_rate: tf.Tensor, decay: float
    ) -> None:
        self.assign_sub(variable, learning_rate * decay * variable)
        keras.optimizers.Adam.update_step(self, gradient, variable, learning_rate)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Dynamic loss scaling for mixed_float16 that checks the gradients of every replica for overflow.

    Keras 3.15 checks only the first replica, so an overflow on another replica would reach the weights.
    """

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        if not self.built:  # Keras would reset its counters
            super().build(var_list)

    def apply(
        self,
        grads: Sequence[tf.Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Applies the gradients, or lowers the scale if a gradient of any replica is not finite."""

        def over_replicas(strategy, overflows):
            return strategy.reduce("SUM", overflows, axis=None)

        is_finite: Any = self.check_finite(grads)
        overflows = tf.cast(tf.logical_not(is_finite), tf.float32)
        num_overflows = tf.distribute.get_replica_context().merge_call(over_replicas, [overflows])
        nan_or_zero = tf.where(num_overflows > 0, math.nan, 0.0)  # NaN fails the check of the first replica
        grads = [grad if grad is None else grad + tf.cast(nan_or_zero, grad.dtype) for grad in grads]
        super().apply(grads, trainable_variables)


def build_optimizer(recipe: TrainConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer for a `TrainConfig`, with its learning rate schedule."""
    warm_up = {"warmup_steps": recipe.warmup_steps, "warmup_factor": recipe.warmup_factor}
    if recipe.schedule == "cosine":
        schedule = WarmupCosine(recipe.scaled_learning_rate, recipe.scaled_steps, **warm_up)
    else:
        schedule = WarmupSteps(recipe.scaled_learning_rate, recipe.scaled_milestones, **warm_up)
    average = {} if recipe.ema_decay is None else {"use_ema": True, "ema_momentum": recipe.ema_decay}
    optimizers = {
        "sgd": functools.partial(CoupledSGD, momentum=float(recipe.momentum)),
        "adamw": functools.partial(AdamW, beta_1=float(recipe.momentum)),
    }
    optimizer = optimizers[recipe.optimizer](
        schedule,
        weight_decay=recipe.weight_decay,
        norm_weight_decay=recipe.norm_weight_decay,
        clip_norm=recipe.clip_norm,
        **average,
    )
    return LossScale(optimizer) if recipe.precision == "mixed_float16" else optimizer


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Context manager that gives a model the moving averages of its weights, then restores the weights.

    Without averages in the optimizer, it does nothing.

    Args:
        model: Compiled `keras.Model`.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # `LossScale` wraps an optimizer
    if not optimizer.use_ema:
        yield
        return
    variables = model.trainable_variables
    weights = [np.asarray(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
