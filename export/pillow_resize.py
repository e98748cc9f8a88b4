"""Pillow's bilinear resize as TensorFlow ops, to the bit: what detectron2's models were trained on.

It filters along the rows, then along the columns; each filter is a triangle as wide as the distance of two
output pixels (or of two input pixels, where it enlarges), its weights are whole numbers of 22 bits, and each
pass rounds to uint8. Source: Pillow's `src/libImaging/Resample.c`. Pillow 13 begins with the columns where it
reduces them by more than twice as many pixels (python-pillow/Pillow#9549): there, in tall images, this is one
grey level off now and then, and what the models were trained on.
"""

import tensorflow as tf

PRECISION_BITS = 22  # 32, less 8 of the pixel and 2 to spare


def resize_as_pillow(image, size):
    """Returns what `PIL.Image.resize(size, BILINEAR)` makes of an image.

    Args:
        image: `[H, W, C]` uint8.
        size: `[2]` int32, (height, width).

    Returns:
        `[*size, C]` uint8.
    """
    columns = _resize_rows(tf.transpose(image, (1, 0, 2)), size[1])  # [W, H, C]
    return _resize_rows(tf.transpose(columns, (1, 0, 2)), size[0])


def filter_weights(inputs, outputs):
    """The triangles of all output pixels of an axis.

    Args:
        inputs, outputs: `[]` int32, pixels before and after.

    Returns:
        `[outputs]` int32, the first pixel that each one sees, and `[outputs, T]` int32, the weights of that
        and of the T - 1 pixels after it.
    """
    scale = tf.cast(inputs, tf.float64) / tf.cast(outputs, tf.float64)
    support = tf.maximum(scale, 1.0)
    centres = (tf.cast(tf.range(outputs), tf.float64) + 0.5) * scale  # [outputs]
    first = tf.maximum(tf.cast(centres - support + 0.5, tf.int32), 0)
    last = tf.minimum(tf.cast(centres + support + 0.5, tf.int32), inputs)  # not included
    taps = first[:, None] + tf.range(2 * tf.cast(tf.math.ceil(support), tf.int32) + 1)  # [outputs, T]
    distance = tf.abs(tf.cast(taps, tf.float64) + 0.5 - centres[:, None]) * (1 / support)
    weights = tf.where(taps < last[:, None], tf.maximum(1 - distance, 0), 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return first, tf.cast(weights * 2**PRECISION_BITS + 0.5, tf.int32)


def _resize_rows(image, outputs):
    """`[H, W, C]` uint8 to `[outputs, W, C]`."""
    inputs = tf.shape(image)[0]
    first, weights = filter_weights(inputs, outputs)

    def add(tap, total):
        rows = tf.gather(image, tf.minimum(first + tap, inputs - 1))  # those beyond weigh nothing
        return tap + 1, total + tf.cast(rows, tf.int32) * weights[:, tap, None, None]

    half = tf.fill([outputs, tf.shape(image)[1], tf.shape(image)[2]], 2 ** (PRECISION_BITS - 1))
    half = tf.ensure_shape(half, [None, None, image.shape[2]])
    _, total = tf.while_loop(lambda tap, _: tap < tf.shape(weights)[1], add, (0, half))
    return tf.cast(tf.minimum(tf.bitwise.right_shift(total, PRECISION_BITS), 255), tf.uint8)
