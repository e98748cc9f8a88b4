"""Convolutions with normalization and activation."""

from collections.abc import Callable
from typing import Any, Literal

import keras
import tensorflow as tf

from mask_rcnn.layers.batch_norm import BatchNorm
from mask_rcnn.ops import grouped_conv, winograd
from mask_rcnn.ops.empty_batch import with_empty_batch
from mask_rcnn.ops.implementation import Implementation, current_implementation
from mask_rcnn.ops.tensor import Shape, Tensor

# Minimum number of input and output channels. With fewer, the transforms cost more than Winograd saves.
WINOGRAD_CHANNELS = 128


@keras.saving.register_keras_serializable(package="mask_rcnn")
class FrozenBatchNorm(keras.layers.Layer):
    """Batch normalization with fixed statistics, scale and shift: an affine map per channel.

    Detection networks use it in their pretrained backbone, because their batches are too small for batch
    statistics (section 3.1, "implementation details" of ResNet-C4 and FPN).

    Args:
        epsilon: Small float added to the variance to avoid division by zero. Defaults to 1e-5.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        def add(name, initializer):
            return self.add_weight(
                name=name, shape=input_shape[-1:], initializer=initializer, trainable=False
            )

        self.gamma = add("gamma", "ones")
        self.beta = add("beta", "zeros")
        self.moving_mean = add("moving_mean", "zeros")
        self.moving_variance = add("moving_variance", "ones")

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Returns scale and shift, `[C]` each. The output of the layer is x * scale + shift."""
        scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def call(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        return x * scale + shift

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def norm_layer(
    norm: str, epsilon: float, dtype: keras.DTypePolicy, *, trainable: bool = True
) -> keras.Layer | None:
    """Returns a new normalization layer, or None for "none".

    Args:
        norm: "none", "frozen_batch_norm", "batch_norm", "sync_batch_norm" or "group_norm" (32 groups).
        epsilon: Small float added to the variance.
        dtype: Keras dtype policy of the layer.
        trainable: Whether the layer is trained. Defaults to True. "frozen_batch_norm" is never trained.

    Raises:
        ValueError: If `norm` is another string.
    """
    match norm:
        case "none":
            return None
        case "frozen_batch_norm":
            # The variable dtype is float32, except in the parity tests, which compute all in float64.
            return FrozenBatchNorm(epsilon, name="norm", dtype=dtype.variable_dtype)
        case "group_norm":
            return keras.layers.GroupNormalization(
                32, epsilon=epsilon, name="norm", dtype=dtype, trainable=trainable
            )
        case "batch_norm" | "sync_batch_norm":
            synchronized = norm == "sync_batch_norm"
            return BatchNorm(
                momentum=0.9,
                epsilon=epsilon,
                synchronized=synchronized,
                name="norm",
                dtype=dtype,
                trainable=trainable,
            )
    raise ValueError(
        '`norm` must be "none", "frozen_batch_norm", "batch_norm", "sync_batch_norm" or "group_norm". '
        f"Received: norm={norm!r}."
    )


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ConvNorm(keras.layers.Layer):
    """Convolution followed by normalization and activation. It has a bias only if it has no normalization.

    A frozen batch normalization is multiplied into the kernel, also in training, so it costs no time.

    Args:
        filters: Number of output channels. None makes a depthwise convolution.
        kernel_size: Side of the kernel, pixels.
        strides: Stride, pixels. Defaults to 1.
        padding: "symmetric" pads (kernel_size - 1) // 2 pixels on each side, as PyTorch models do. "same" is
            TensorFlow's padding: more at the bottom and right. Defaults to "symmetric".
        norm: Normalization, see `norm_layer`. Defaults to "none".
        norm_epsilon: Small float added to the variance. Defaults to 1e-5.
        activation: Name of a Keras activation, or None, which is the default.
        kernel_initializer: Keras initializer. Defaults to "he_normal", which keeps the variance through
            ReLUs.
        groups: Number of groups (ResNeXt: Xie et al. 2017, figure 3c). Defaults to 1.
        dilation: Distance between kernel taps, pixels. Above 1 only with a stride of 1. Defaults to 1.
        implementation: "cpu", "gpu" or "portable", see `model.build_parts`. Defaults to
            `current_implementation`. Weights and, up to rounding, results do not depend on it. "cpu"
            uses `ops.winograd` for wide 3x3 convolutions of stride 1 in float32, which halves their time.
            "cpu" and "portable" use `ops.grouped_conv` for groups and dilation. It depends on the machine and
            is therefore not part of the saved config.

    Output shape:
        `[B, H', W', filters]`.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int,
        strides: int = 1,
        *,
        padding: Literal["symmetric", "same"] = "symmetric",
        norm: str = "none",
        norm_epsilon: float = 1e-5,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        kernel_initializer: str | keras.Initializer = "he_normal",
        groups: int = 1,
        dilation: int = 1,
        implementation: Implementation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.norm_name = norm
        self.norm_epsilon = norm_epsilon
        self.activation: Callable[[Tensor], Tensor] = keras.activations.get(activation)
        self.kernel_initializer: Any = keras.initializers.get(kernel_initializer)
        self.groups = groups
        self.dilation = dilation
        self.implementation = implementation or current_implementation()
        # A frozen layer has a frozen normalization: gamma, beta and the statistics do not change.
        self.norm = norm_layer(norm, norm_epsilon, self.dtype_policy, trainable=self.trainable)

    def build(self, input_shape: Shape) -> None:
        channels: Any = input_shape[-1]  # never None: Keras requires a known number of channels
        side = (self.kernel_size, self.kernel_size)
        last = (channels, 1) if self.filters is None else (channels // self.groups, self.filters)
        # No autocast: the kernel is multiplied by the normalization's scale before it is cast.
        self.kernel = self.add_weight(
            name="kernel", shape=(*side, *last), initializer=self._initial_kernel, autocast=False
        )
        self.bias = None
        outputs = self.filters or channels
        if self.norm is None:
            self.bias = self.add_weight(name="bias", shape=(outputs,), initializer="zeros")
        else:
            self.norm.build((None, None, None, outputs))

    def _initial_kernel(self, shape, dtype=None):
        if self.filters is not None:
            return self.kernel_initializer(shape, dtype=dtype)
        # Each output of a depthwise kernel has one input channel. The initializer must see a fan-in of one.
        kernel = self.kernel_initializer((*shape[:2], 1, shape[2]), dtype=dtype)
        return tf.reshape(kernel, shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        if self.norm is None or isinstance(self.norm, FrozenBatchNorm):
            return with_empty_batch(self._convolve_and_activate, x)
        y = with_empty_batch(
            lambda x: self._convolve(x, self.kernel), x
        )  # keeps the zeros out of the statistics
        return self.activation(self.norm(y, training=training))

    def _convolve_and_activate(self, x):
        kernel, bias = self.kernel, self.bias
        if self.norm is not None:
            scale, shift = self.norm.scale_and_shift()
            kernel, bias = kernel * self._as_kernel(scale), tf.cast(shift, self.compute_dtype)
        return self.activation(tf.nn.bias_add(self._convolve(x, kernel), bias))

    def _as_kernel(self, scale):
        return scale[:, None] if self.filters is None else scale

    def _convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernel = tf.cast(kernel, self.compute_dtype)
        if self.implementation == "cpu" and self._suits_winograd(kernel):
            return winograd.conv2d(x, kernel)
        x, padding = self._pad(x)
        if self.filters is None:
            strides = [1, self.strides, self.strides, 1]
            return tf.nn.depthwise_conv2d(x, kernel, strides=strides, padding=padding)
        conv2d = tf.nn.conv2d if self.implementation == "gpu" else grouped_conv.conv2d
        return conv2d(x, kernel, self.strides, padding=padding, dilations=self.dilation)

    def _pad(self, x):
        """Returns the padded `x`, and the padding ("SAME" or "VALID") of the convolution itself.

        The convolution itself gets no list of paddings, because of two problems on CPUs (TensorFlow 2.21):
        - The gradients have no fast bfloat16 kernel for it: up to 45 times slower.
        - A compiled depthwise convolution with a bias and a ReLU aborts the process (oneDNN).
        """
        is_same = self.strides == 1 and self.kernel_size % 2 == 1
        if self.padding == "same" or is_same:
            return x, "SAME"
        pad = (self.kernel_size - 1) // 2  # a dilated convolution has stride 1 and returned above
        return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if pad else x, "VALID"

    def _suits_winograd(self, kernel):
        settings = (self.kernel_size, self.strides, self.groups, self.dilation, self.compute_dtype)
        is_wide = self.filters is not None and min(kernel.shape[2:]) >= WINOGRAD_CHANNELS
        return is_wide and settings == (3, 1, 1, 1, "float32")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        reach = self.dilation * (self.kernel_size - 1)  # pixels from the first tap to the last
        pad = 2 * (reach // 2) if self.padding == "symmetric" else reach
        sides = [side and (side + pad - reach - 1) // self.strides + 1 for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "norm": self.norm_name,
            "norm_epsilon": self.norm_epsilon,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "groups": self.groups,
            "dilation": self.dilation,
        }
