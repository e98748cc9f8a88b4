"""Keypoint targets: each keypoint becomes one cell of a grid over its RoI."""

import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


def keypoint_cells(keypoints: Tensor, rois: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the grid cell of each keypoint in its RoI (section 5: a one-hot mask of one pixel).

    A point on the far edge of the RoI belongs to the last cell, as in torchvision and detectron2.

    Args:
        keypoints: `[..., J, 3]` float32, (y, x, visibility), pixels. The visibility is COCO's: 0 means not
            annotated.
        rois: `[..., 4]` float32, yxyx.
        size: Cells along each side of the grid, S.

    Returns:
        Tuple of
        cells: `[..., J]` int32, row * S + column; 0 where `counts` is False.
        counts: `[..., J]` bool: the keypoint is annotated and inside a RoI that is not empty.
    """
    points, visibility = keypoints[..., :2], keypoints[..., 2]
    top_left, bottom_right = rois[..., None, :2], rois[..., None, 2:]  # [..., 1, 2]
    inside = tf.reduce_all((points >= top_left) & (points <= bottom_right), axis=-1)  # [..., J]
    counts = inside & (visibility > 0) & tf.reduce_all(bottom_right > top_left, axis=-1)
    # Clipped before the cast: a point far outside could overflow an int32.
    grid = (points - top_left) * size / tf.maximum(bottom_right - top_left, 1e-6)
    grid = tf.clip_by_value(tf.floor(grid), 0.0, size - 1.0)  # [..., J, 2]
    rows, columns = tf.unstack(grid, axis=-1)
    cells = tf.cast(rows * size + columns, tf.int32)
    return tf.where(counts, cells, 0), counts
