"""Convolutions with their normalisation and activation."""

import keras
import tensorflow as tf

from mask_rcnn.layers.batch_norm import BatchNorm
from mask_rcnn.ops import decomposed, winograd
from mask_rcnn.ops.empty_batch import never_empty
from mask_rcnn.ops.kernels import current_kernels

# Fewer channels gain less than the transforms cost.
WINOGRAD_CHANNELS = 128


@keras.saving.register_keras_serializable(package="mask_rcnn")
class FrozenBatchNorm(keras.layers.Layer):
    """Batch normalisation with fixed statistics and a fixed affine map: a scale and a shift a channel.

    What detection networks use for their pretrained backbone, since their batches are too small for
    statistics (section 3.1, "implementation details" of ResNet-C4 and FPN).

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.epsilon = epsilon

    def build(self, input_shape):
        def add(name, initializer):
            return self.add_weight(
                name=name, shape=input_shape[-1:], initializer=initializer, trainable=False
            )

        self.gamma = add("gamma", "ones")
        self.beta = add("beta", "zeros")
        self.moving_mean = add("moving_mean", "zeros")
        self.moving_variance = add("moving_variance", "ones")

    def scale_and_shift(self):
        """Returns two `[C]` tensors: the layer is x * scale + shift."""
        scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def call(self, x):
        scale, shift = self.scale_and_shift()
        return x * scale + shift

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def norm_layer(norm, epsilon, dtype):
    """Returns the normalisation layer called `norm`, or None for "none"."""
    match norm:
        case "none":
            return None
        case "frozen_batch_norm":
            # Under float64 the parity tests want all of it in float64.
            return FrozenBatchNorm(epsilon, name="norm", dtype=dtype.variable_dtype)
        case "group_norm":
            return keras.layers.GroupNormalization(32, epsilon=epsilon, name="norm", dtype=dtype)
        case "batch_norm" | "sync_batch_norm":
            synchronized = norm == "sync_batch_norm"
            return BatchNorm(
                momentum=0.9, epsilon=epsilon, synchronized=synchronized, name="norm", dtype=dtype
            )
    raise ValueError(
        'Expected "none", "frozen_batch_norm", "batch_norm", "sync_batch_norm" or "group_norm". '
        f"Received: norm={norm!r}."
    )


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ConvNorm(keras.layers.Layer):
    """A convolution, its normalisation and its activation; it has a bias where it has no normalisation.

    A frozen batch normalisation is multiplied into the kernel, in training too: it costs nothing then.

    Args:
        filters: output channels; None makes it depthwise.
        kernel_size: side of the kernel.
        strides: pixels from output to output.
        padding: "symmetric" pads (kernel_size - 1) // 2 on each side, as PyTorch models do; "same" is
            TensorFlow's, which pads more at the bottom and right.
        norm: "none", "frozen_batch_norm", "batch_norm", "sync_batch_norm" or "group_norm".
        norm_epsilon: of the normalisation.
        activation: name of a Keras activation, or None.
        kernel_initializer: He's by default, which keeps the variance through ReLUs.
        groups: how many times a filter's channels fit into the input's (ResNeXt: Xie et al. 2017, figure 3c).
        dilation: pixels from tap to tap of the kernel; above 1 only with stride 1.
        kernels: what computes it, see `build_parts`. Defaults to `ops.kernels.current_kernels`. It belongs to
            a machine, so the saved config has none. The weights and, up to rounding, the values are the same:
            "cpu" has `ops.winograd` for wide 3x3 convolutions of stride 1 in float32, in half the time; "cpu"
            and "portable" have `ops.decomposed` for groups and dilation.

    Output shape:
        `[B, H', W', filters]`.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="symmetric",
        norm="none",
        norm_epsilon=1e-5,
        activation=None,
        kernel_initializer="he_normal",
        groups=1,
        dilation=1,
        kernels=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.norm_name = norm
        self.norm_epsilon = norm_epsilon
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.groups = groups
        self.dilation = dilation
        self.kernels = kernels or current_kernels()
        self.norm = norm_layer(norm, norm_epsilon, self.dtype_policy)
        if self.norm is not None and not self.trainable:
            self.norm.trainable = False  # otherwise gamma and beta train, and the statistics move

    def build(self, input_shape):
        channels = input_shape[-1]
        side = (self.kernel_size, self.kernel_size)
        last = (channels, 1) if self.filters is None else (channels // self.groups, self.filters)
        # Not cast automatically: the normalisation is multiplied in before the cast.
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
        # Each output of a depthwise kernel has one input channel, which the initializer should know.
        kernel = self.kernel_initializer((*shape[:2], 1, shape[2]), dtype=dtype)
        return tf.reshape(kernel, shape)

    def call(self, x, training=None):
        if self.norm is None or isinstance(self.norm, FrozenBatchNorm):
            return never_empty(self._convolve_and_activate, x)
        y = never_empty(lambda x: self._convolve(x, self.kernel), x)  # no zeros in the statistics
        return self.activation(self.norm(y, training=training))

    def _convolve_and_activate(self, x):
        kernel, bias = self.kernel, self.bias
        if self.norm is not None:
            scale, shift = self.norm.scale_and_shift()
            kernel, bias = kernel * self._as_kernel(scale), tf.cast(shift, self.compute_dtype)
        return self.activation(tf.nn.bias_add(self._convolve(x, kernel), bias))

    def _as_kernel(self, scale):
        return scale[:, None] if self.filters is None else scale

    def _convolve(self, x, kernel):
        kernel = tf.cast(kernel, self.compute_dtype)
        if self.kernels == "cpu" and self._suits_winograd(kernel):
            return winograd.conv2d(x, kernel)
        x, padding = self._pad(x)
        if self.filters is None:
            strides = [1, self.strides, self.strides, 1]
            return tf.nn.depthwise_conv2d(x, kernel, strides=strides, padding=padding)
        conv2d = tf.nn.conv2d if self.kernels == "gpu" else decomposed.conv2d
        return conv2d(x, kernel, self.strides, padding, dilations=self.dilation)

    def _pad(self, x):
        """Returns `x`, padded where "SAME" is not meant, and the padding that is left to the convolution.

        No list of paddings is given to a convolution. On CPUs its gradients have no fast bfloat16 kernel
        (TensorFlow 2.21: up to 45 times slower), and a compiled depthwise convolution with a bias and a ReLU
        ends the process (oneDNN).
        """
        is_same = self.strides == 1 and self.kernel_size % 2 == 1
        if self.padding == "same" or is_same:
            return x, "SAME"
        pad = (self.kernel_size - 1) // 2  # only strides of 1 are dilated
        return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if pad else x, "VALID"

    def _suits_winograd(self, kernel):
        kind = (self.kernel_size, self.strides, self.groups, self.dilation, self.compute_dtype)
        wide = self.filters is not None and min(kernel.shape[2:]) >= WINOGRAD_CHANNELS
        return wide and kind == (3, 1, 1, 1, "float32")

    def compute_output_shape(self, input_shape):
        reach = self.dilation * (self.kernel_size - 1)  # pixels from the first tap to the last
        pad = 2 * (reach // 2) if self.padding == "symmetric" else reach
        sides = [side and (side + pad - reach - 1) // self.strides + 1 for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters or input_shape[-1])

    def get_config(self):
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
