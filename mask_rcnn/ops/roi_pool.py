"""RoIPool, and the rounding of RoIs that it shares with RoIWarp.

Letters: R RoIs, P bins per side, H W the map, C channels.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from mask_rcnn.ops.roi_align import pool_by_level
from mask_rcnn.ops.tensor import Tensor


def whole_pixel_rois(boxes: Tensor, scale: float | Tensor) -> Tensor:
    """Returns RoIs rounded to whole pixels of a map (Fast R-CNN, section 2.1).

    The last pixel belongs to the RoI, as in RoIPool of Caffe and torchvision. A RoI has at least one pixel
    per side.

    Args:
        boxes: `[..., 4]`, yxyx, image pixels.
        scale: Map pixels per image pixel, 1 / stride. A number, or `[..., 1]`.

    Returns:
        `[..., 4]` float32, yxyx, whole map pixels, far edge not included.
    """
    corners = boxes * scale
    corners = tf.sign(corners) * tf.floor(tf.abs(corners) + 0.5)  # rounds half away from 0, unlike tf.round
    start, last = corners[..., :2], corners[..., 2:]
    return tf.concat([start, tf.maximum(last, start) + 1.0], axis=-1)


def roi_pool(
    features: Tensor, boxes: Tensor, image_indices: Tensor, *, scale: float, pool_size: int
) -> Tensor:
    """Returns the maximum of each bin of each RoI (RoIPool: Fast R-CNN, section 2.1).

    The RoI is rounded to whole pixels. Each bin is rounded outward to whole pixels. Neighboring bins may
    therefore share a row or a column. A bin outside the map is 0. The gradient of each bin and channel goes
    to one pixel with the maximum.

    Args:
        features: `[B, H, W, C]`.
        boxes: `[R, 4]`, yxyx, image pixels.
        image_indices: `[R]` int32, the image of each RoI.
        scale: Map pixels per image pixel, 1 / stride.
        pool_size: Bins per side, P.

    Returns:
        `[R, P, P, C]` float32.
    """
    image_indices = tf.cast(image_indices, tf.int32)
    rois = whole_pixel_rois(tf.cast(boxes, tf.float32), scale)
    map_size = tf.shape(features)[1:3]
    rows = bin_edges(rois[:, 0], rois[:, 2], length=map_size[0], pool_size=pool_size)
    columns = bin_edges(rois[:, 1], rois[:, 3], length=map_size[1], pool_size=pool_size)

    @tf.custom_gradient
    def pool(features):
        pooled, pixels = _pool_with_argmax(features, (image_indices, rows, columns), pool_size)

        def gradient(upstream):
            shape = tf.shape(features)
            num_pixels, channels = tf.reduce_prod(shape[:3]), shape[3]
            # An empty bin has the pixel -1. `unsorted_segment_sum` drops negative segment ids.
            values = tf.where(pixels < 0, pixels, pixels * channels + tf.range(channels))
            flat = tf.math.unsorted_segment_sum(upstream, values, num_pixels * channels)
            return tf.cast(tf.reshape(flat, shape), features.dtype)

        return pooled, gradient

    return pool(features)


def pyramid_roi_pool(
    pyramid: Sequence[Tensor], boxes: Tensor, levels: Tensor, *, strides: Sequence[float], pool_size: int
) -> Tensor:
    """Returns RoIPool of each RoI, pooled from its own pyramid level.

    Args:
        pyramid: List of maps `[B, H, W, C]`, such as P2..P5.
        boxes: `[B, N, 4]`, yxyx, image pixels.
        levels: `[B, N]` int32 of `ops.roi_align.pyramid_levels`.
        strides: Image pixels per map pixel, for each map.
        pool_size: Bins per side, P.

    Returns:
        `[B, N, P, P, C]` float32.
    """

    def pool(features, rois, image_indices, scale):
        return roi_pool(features, rois, image_indices, scale=scale, pool_size=pool_size)

    return pool_by_level(pool, pyramid, boxes, levels=levels, strides=strides)


def bin_edges(start: Tensor, end: Tensor, *, length: Tensor, pool_size: int) -> Tensor:
    """Returns the start and the end of each bin along one axis, clipped to the map.

    Args:
        start, end: `[R]`, the RoIs along this axis, whole map pixels, end not included.
        length: int32, size of the map along this axis. A scalar, or `[R, 1, 1]`.
        pool_size: Bins, P.

    Returns:
        `[R, 2, P]` int32: first row (or column) of each bin, and one past its last row.
    """
    start, end = tf.cast(start, tf.int32)[:, None], tf.cast(end, tf.int32)[:, None]
    size, bins = end - start, tf.range(pool_size)  # integers, so that no rounding error enlarges a bin
    # The end is rounded up. No dividend is negative, because runtimes round negative quotients differently.
    first, last = bins * size // pool_size, ((bins + 1) * size + pool_size - 1) // pool_size
    return tf.clip_by_value(start[:, None] + tf.stack([first, last], axis=1), 0, length)


def _pool_with_argmax(features, rois, pool_size):
    """Returns the maximum of each bin and the pixel that has it.

    Args:
        features: `[B, H, W, C]`.
        rois: Tuple of image index `[R]`, rows `[R, 2, P]` and columns `[R, 2, P]` of the bins, see
            `bin_edges`.
        pool_size: Bins per side, P.

    Returns:
        Tuple of
        maximum: `[R, P, P, C]` float32; 0 for an empty bin.
        pixel: `[R, P, P, C]` int32, the row in `[B * H * W, C]`; -1 for an empty bin.
    """
    _, height, width, channels = tf.unstack(tf.shape(features))
    flat = tf.reshape(tf.cast(features, tf.float32), [-1, channels])

    def pool_one(roi):
        # Processes one RoI at a time: the bin pixels of all RoIs together would not fit into memory.
        image, rows, columns = roi
        row, is_row = _bin_pixels(rows)  # [P, h] each
        column, is_column = _bin_pixels(columns)  # [P, w] each
        pixels = (image * height + row[:, None, :, None]) * width + column[None, :, None, :]  # [P, P, h, w]
        is_inside = is_row[:, None, :, None] & is_column[None, :, None, :]
        pixels = tf.reshape(tf.where(is_inside, pixels, -1), [pool_size, pool_size, -1])  # [P, P, h * w]
        values = tf.gather(flat, tf.maximum(pixels, 0))  # [P, P, h * w, C]
        values = tf.where(pixels[:, :, :, None] < 0, -math.inf, values)
        best = tf.argmax(values, axis=2, output_type=tf.int32)  # [P, P, C]
        return tf.reduce_max(values, axis=2), tf.gather(pixels, best, batch_dims=2)

    pooled, pixels = tf.map_fn(pool_one, rois, fn_output_signature=(tf.float32, tf.int32))
    shape = [-1, pool_size, pool_size, features.shape[-1]]
    return tf.reshape(tf.where(pixels < 0, 0.0, pooled), shape), tf.reshape(pixels, shape)


def _bin_pixels(edges):
    """Returns the rows (or columns) of each bin, padded to the size n of the largest bin.

    Args:
        edges: `[2, P]` int32, see `bin_edges`.

    Returns:
        Tuple of indices `[P, n]` int32, and `[P, n]` bool: whether the index is inside the bin. n is at
        least 1.
    """
    start, end = edges[0][:, None], edges[1][:, None]
    index = start + tf.range(tf.maximum(tf.reduce_max(end - start), 1))
    return index, index < end
