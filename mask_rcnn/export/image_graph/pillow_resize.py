"""Pillow's bilinear resize as TensorFlow ops, bit-exact. detectron2's models were trained with it.

It filters along the rows, then along the columns. Each filter is a triangle as wide as the distance of two
output pixels, or of two input pixels when it enlarges. The weights are integers of 22 bits, and each pass
rounds to uint8. Source: Pillow's `src/libImaging/Resample.c`.

Pillow 13 filters the columns first if it reduces them by more than twice as many pixels as the rows
(python-pillow/Pillow#9549). For such tall images this file may differ from Pillow 13 by one gray level. It
follows the earlier versions, which the models were trained with.
"""

import tensorflow as tf

PRECISION_BITS = 22  # 32 bits minus 8 for the pixel and 2 spare bits


def resize_as_pillow(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the same image as `PIL.Image.resize` with BILINEAR.

    Args:
        image: `[H, W, C]` uint8.
        size: `[2]` int32, (height, width), pixels.

    Returns:
        `[*size, C]` uint8.
    """
    columns = _resize_rows(tf.transpose(image, (1, 0, 2)), size[1])  # [W, H, C]
    return _resize_rows(tf.transpose(columns, (1, 0, 2)), size[0])


def filter_weights(inputs: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the triangle filters of all output pixels of an axis.

    Args:
        inputs, outputs: `[]` int32, number of pixels before and after.

    Returns:
        `[outputs]` int32, the first input pixel of each filter, and `[outputs, T]` int32, the weights of that
        pixel and of the T - 1 pixels after it.
    """
    scale = tf.cast(inputs, tf.float64) / tf.cast(outputs, tf.float64)
    support = tf.maximum(scale, 1.0)
    centers = (tf.cast(tf.range(outputs), tf.float64) + 0.5) * scale  # [outputs]
    first = tf.maximum(tf.cast(centers - support + 0.5, tf.int32), 0)
    last = tf.minimum(tf.cast(centers + support + 0.5, tf.int32), inputs)  # not included
    taps = first[:, None] + tf.range(2 * tf.cast(tf.math.ceil(support), tf.int32) + 1)  # [outputs, T]
    distance = tf.abs(tf.cast(taps, tf.float64) + 0.5 - centers[:, None]) * (1 / support)
    weights = tf.where(taps < last[:, None], tf.maximum(1 - distance, 0), 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return first, tf.cast(weights * 2**PRECISION_BITS + 0.5, tf.int32)


def _resize_rows(image: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Resizes the first axis: `[H, W, C]` uint8 to `[outputs, W, C]`."""
    inputs = tf.shape(image)[0]
    first, weights = filter_weights(inputs, outputs)

    def add(tap, total):
        rows = tf.gather(image, tf.minimum(first + tap, inputs - 1))  # pixels outside have weight 0
        return tap + 1, total + tf.cast(rows, tf.int32) * weights[:, tap, None, None]

    half = tf.fill([outputs, tf.shape(image)[1], tf.shape(image)[2]], 2 ** (PRECISION_BITS - 1))
    half = tf.ensure_shape(half, [None, None, image.shape[2]])
    _, total = tf.while_loop(lambda tap, _: tap < tf.shape(weights)[1], add, (0, half))
    return tf.cast(tf.minimum(tf.bitwise.right_shift(total, PRECISION_BITS), 255), tf.uint8)
