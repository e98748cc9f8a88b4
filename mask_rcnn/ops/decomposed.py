"""Grouped and dilated convolutions made of plain ones.

On a CPU TensorFlow 2.21 has a gradient of neither, and its graphs cannot run groups with a bias: it fuses
the two into an op that does not know groups. Group by group is also 1.4 to 1.8 times as fast there (3x3, 32
groups of 8 to 32 channels, 2 cores).
"""

import tensorflow as tf


def conv2d(x, kernel, strides, padding, dilations=1):
    """Is `tf.nn.conv2d`, on every machine and with a gradient.

    Args:
        x: `[B, H, W, C]`.
        kernel: `[k, k, C / groups, filters]`.
        strides, padding: as `tf.nn.conv2d` takes them. A dilated convolution has stride 1 and keeps the size
            of the map, whatever is said here.
        dilations: pixels from tap to tap.

    Returns:
        `[B, H', W', filters]`.
    """
    if dilations > 1:
        return _dilated(x, kernel, dilations)
    groups = x.shape[-1] // kernel.shape[2]
    if groups == 1:
        return tf.nn.conv2d(x, kernel, strides, padding)
    each = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(some, its, strides, padding) for some, its in each], axis=-1)


def _dilated(x, kernel, dilation):
    """Convolves every `dilation`-th row and column with its like."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    block = [dilation, dilation]
    more = [-(height + 2 * pad) % dilation, -(width + 2 * pad) % dilation]  # to whole blocks
    phases = tf.space_to_batch(x, block, [[pad, pad + more[0]], [pad, pad + more[1]]])
    phases = conv2d(phases, kernel, 1, "VALID")
    return tf.batch_to_space(phases, block, [[0, more[0]], [0, more[1]]])
