"""Batch normalization of RoIs: padding rows are in the batch, but do not count in its statistics."""

import contextlib
import contextvars
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor

# `[R]` bool while `ValidRois` calls a network, else None. A context variable, because a `keras.Model`
# cannot pass an extra argument to the layers inside it. Each replica runs in its own thread and has its own
# value.
_COUNTED = contextvars.ContextVar("counted", default=None)


@contextlib.contextmanager
def _statistics_of(counted):
    token = _COUNTED.set(counted)
    try:
        yield
    finally:
        _COUNTED.reset(token)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ValidRois(keras.layers.Layer):
    """Calls a network whose batch normalizations compute their statistics from some of the RoIs only.

    Args:
        network: `keras.Model`. The first axis of its inputs is the RoIs, R.

    Call arguments:
        inputs: The inputs of `network`.
        counted: `[B, N]` bool with B * N = R: the RoIs to compute the statistics from.

    Returns:
        The outputs of `network`.
    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network

    def call(self, inputs: Any, counted: Tensor, training: bool | None = None) -> Any:
        with _statistics_of(tf.reshape(counted, [-1])):
            return self.network(inputs, training=training)

    def compute_output_spec(self, inputs: Any, counted: Tensor, training: bool | None = None) -> Any:
        return self.network.compute_output_spec(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ValidRois":
        return cls(keras.saving.deserialize_keras_object(config.pop("network")), **config)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization whose training statistics can be limited to some RoIs by `ValidRois`.

    If no RoI counts, it normalizes the batch with the moving statistics and does not update them. Outside
    `ValidRois` and in inference it is `keras.layers.BatchNormalization`.
    """

    moving_mean: keras.Variable
    moving_variance: keras.Variable

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        counted = _COUNTED.get()
        if counted is None or not training or not self.trainable:
            return super().call(x, training=training)
        values = tf.cast(x, tf.as_dtype(self.variable_dtype))
        mean, variance, is_known = self._statistics(values, counted)
        keep = tf.where(is_known, tf.cast(self.momentum, mean.dtype), 1.0)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * keep + new * (1.0 - keep))
        y = tf.nn.batch_normalization(values, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(y, self.compute_dtype)

    def _statistics(self, values, counted):
        """Returns mean and variance `[C]` of `values` `[R, H, W, C]`, and whether any RoI counts."""
        is_counted = counted[:, None, None, None]
        num_pixels = tf.cast(tf.shape(values)[1] * tf.shape(values)[2], values.dtype)
        count = self._total(tf.reduce_sum(tf.cast(counted, values.dtype)) * num_pixels)

        def mean_of(x):
            total = self._total(tf.reduce_sum(tf.where(is_counted, x, 0.0), axis=(0, 1, 2)))
            return total / tf.maximum(count, 1.0)

        mean = mean_of(values)
        variance = mean_of(tf.square(values - mean))
        is_known = count > 0
        mean = tf.where(is_known, mean, tf.convert_to_tensor(self.moving_mean))
        variance = tf.where(is_known, variance, tf.convert_to_tensor(self.moving_variance))
        return mean, variance, is_known

    def _total(self, x):
        if not self.synchronized:
            return x
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)
