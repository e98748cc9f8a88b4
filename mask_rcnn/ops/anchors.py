"""Anchor boxes of a feature pyramid (FPN, section 4.1)."""

import numpy as np
import tensorflow as tf


def base_anchors(sizes, ratios, rounded=False):
    """Returns the anchors of some sizes around the origin.

    Args:
        sizes: square roots of their areas, pixels; or just one.
        ratios: heights over widths.
        rounded: corners are rounded to whole pixels (half to even), as torchvision does.

    Returns:
        `[A, 4]` float32 NumPy array, yxyx: one size after the other, in each of them the ratios.

    >>> base_anchors(32, (1.0,))
    array([[-16., -16.,  16.,  16.]], dtype=float32)
    """
    roots = np.sqrt(np.asarray(ratios, "float64"))
    sizes = np.reshape(sizes, [-1, 1])
    heights, widths = (sizes * roots).ravel(), (sizes / roots).ravel()
    anchors = np.stack([-heights, -widths, heights, widths], axis=-1) / 2
    return (np.round(anchors) if rounded else anchors).astype("float32")


def grid_anchors(map_size, stride, base):
    """Puts the base anchors on every cell of a feature map.

    Args:
        map_size: (height, width) of the map, tensors or integers.
        stride: (vertical, horizontal) pixels from cell to cell; cell (0, 0) is at pixel 0.
        base: `[A, 4]`, yxyx around the origin.

    Returns:
        `[height * width * A, 4]`, yxyx; rows first, then columns, then base anchors.
    """
    rows = tf.cast(tf.range(map_size[0]) * stride[0], tf.float32)
    columns = tf.cast(tf.range(map_size[1]) * stride[1], tf.float32)
    y, x = tf.meshgrid(rows, columns, indexing="ij")  # [height, width] each
    origins = tf.stack([y, x, y, x], axis=-1)  # [height, width, 4]
    return tf.reshape(origins[:, :, None, :] + tf.constant(base), [-1, 4])
