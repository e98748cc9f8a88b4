"""Mask targets: ground-truth masks resampled in the grid of a RoI."""

import tensorflow as tf

from mask_rcnn.ops.roi_align import roi_align
from mask_rcnn.ops.tensor import Tensor


def crop_masks(masks: Tensor, mask_boxes: Tensor, rois: Tensor, *, size: int) -> Tensor:
    """Returns each ground-truth mask resampled in the grid of its RoI.

    Args:
        masks: `[R, S, S]` uint8 of 0 and 1. Each mask covers exactly its own box.
        mask_boxes: `[R, 4]`, yxyx: the box of each mask.
        rois: `[R, 4]`, yxyx.
        size: Side of the result, M.

    Returns:
        `[R, M, M]` float32 of 0 and 1: 1 where the object covers at least half of the cell (section 3, "mask
        representation": the intersection of the RoI and its ground-truth mask).
    """
    side = masks.shape[-1]
    origin = tf.tile(mask_boxes[:, :2], [1, 2])  # [R, 4]
    scale = side / tf.maximum(mask_boxes[:, 2:] - mask_boxes[:, :2], 1e-6)
    in_mask = (rois - origin) * tf.tile(scale, [1, 2])  # pixels of the mask crop
    # Padded with zeros: roi_align repeats the border of its map, but a mask is empty outside its box.
    padded = tf.pad(tf.cast(masks, tf.float32), [[0, 0], [1, 1], [1, 1]])[:, :, :, None]
    indices = tf.range(tf.shape(rois)[0])
    covered = roi_align(padded, in_mask + 1.0, indices, scale=1.0, pool_size=size)  # [R, M, M, 1]
    return tf.cast(covered[..., 0] >= 0.5, tf.float32)
