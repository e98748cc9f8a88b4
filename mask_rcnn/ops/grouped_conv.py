"""Grouped and dilated convolutions computed by plain convolutions.

On CPUs, TensorFlow 2.21 has no gradient for grouped or dilated convolutions. Its graphs also cannot run a
grouped convolution with a bias: the graph optimizer fuses both into an op that does not support groups.
Computing one group at a time is also 1.4 to 1.8 times as fast there (3x3, 32 groups of 8 to 32 channels,
2 cores).
"""

from typing import Literal

import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


def conv2d(
    x: Tensor, kernel: Tensor, strides: int, *, padding: Literal["SAME", "VALID"], dilations: int = 1
) -> Tensor:
    """Returns `tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)`, with a gradient on CPUs too.

    Args:
        x: `[B, H, W, C]`.
        kernel: `[k, k, C / groups, filters]`. The number of groups follows from its shape.
        strides, padding: See `tf.nn.conv2d`. Ignored if `dilations` is above 1: a dilated convolution has
            stride 1 and keeps the size of the map.
        dilations: Distance between kernel taps, pixels. Defaults to 1.

    Returns:
        `[B, H', W', filters]`.
    """
    if dilations > 1:
        return _dilated(x, kernel, dilations)
    groups = x.shape[-1] // kernel.shape[2]
    if groups == 1:
        return tf.nn.conv2d(x, kernel, strides, padding)
    inputs, kernels = tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1)
    outputs = [tf.nn.conv2d(*pair, strides, padding) for pair in zip(inputs, kernels, strict=True)]
    return tf.concat(outputs, axis=-1)


def _dilated(x, kernel, dilation):
    """Returns a dilated convolution of `x`: a plain convolution of its `dilation**2` interleaved subgrids."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    block = [dilation, dilation]
    more = [-(height + 2 * pad) % dilation, -(width + 2 * pad) % dilation]  # up to a multiple of a block
    phases = tf.space_to_batch(x, block, [[pad, pad + more[0]], [pad, pad + more[1]]])
    phases = conv2d(phases, kernel, 1, padding="VALID")
    return tf.batch_to_space(phases, block, [[0, more[0]], [0, more[1]]])
