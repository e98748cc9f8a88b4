"""Anchor boxes of a feature pyramid (FPN, section 4.1)."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


def base_anchors(
    sizes: float | Sequence[float], ratios: Sequence[float] | np.ndarray, rounded: bool = False
) -> np.ndarray:
    """Returns anchors of the given sizes and ratios, centered at the origin.

    Args:
        sizes: Square roots of the anchor areas, pixels. A number or a sequence.
        ratios: Sequence of height / width.
        rounded: Whether to round the corners to whole pixels (half to even), as torchvision does.
            Defaults to False.

    Returns:
        `[A, 4]` float32 NumPy array, yxyx, pixels, with A = number of sizes * number of ratios. All ratios
        of the first size come first, then those of the second size, and so on.

    >>> base_anchors(32, (1.0,))
    array([[-16., -16.,  16.,  16.]], dtype=float32)
    """
    roots = np.sqrt(np.asarray(ratios, "float64"))
    column = np.reshape(sizes, [-1, 1])
    heights, widths = (column * roots).ravel(), (column / roots).ravel()
    anchors = np.stack([-heights, -widths, heights, widths], axis=-1) / 2
    return (np.round(anchors) if rounded else anchors).astype("float32")


def grid_anchors(
    map_size: Tensor | Sequence[int], stride: Tensor | Sequence[int], base: np.ndarray
) -> Tensor:
    """Returns the base anchors shifted to every cell of a feature map.

    Args:
        map_size: (height, width) of the map, tensors or integers.
        stride: (vertical, horizontal) distance between cells, image pixels. Cell (0, 0) is at pixel (0, 0).
        base: `[A, 4]` float32 of `base_anchors`, yxyx, centered at the origin.

    Returns:
        `[height * width * A, 4]` float32, yxyx, image pixels. Sorted by row, then column, then base anchor.
    """
    rows = tf.cast(tf.range(map_size[0]) * stride[0], tf.float32)
    columns = tf.cast(tf.range(map_size[1]) * stride[1], tf.float32)
    y, x = tf.meshgrid(rows, columns, indexing="ij")  # [height, width] each
    origins = tf.stack([y, x, y, x], axis=-1)  # [height, width, 4]
    return tf.reshape(origins[:, :, None, :] + tf.constant(base), [-1, 4])
