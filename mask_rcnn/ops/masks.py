"""Ground-truth masks as seen from a RoI."""

import tensorflow as tf

from mask_rcnn.ops.roi_align import roi_align


def crop_masks(masks, mask_boxes, rois, size):
    """Resamples box-cropped masks in the grid of their RoIs.

    Args:
        masks: `[R, S, S]` uint8 0/1, each stretched over its own box.
        mask_boxes: `[R, 4]`, yxyx: the box that each mask fills.
        rois: `[R, 4]`, yxyx.
        size: side of the result, M.

    Returns:
        `[R, M, M]` float32 of 0 and 1: whether the object covers half of the cell (section 3, "mask
        representation": the intersection of the RoI and its ground-truth mask).
    """
    side = masks.shape[-1]
    origin = tf.tile(mask_boxes[:, :2], [1, 2])  # [R, 4]
    scale = side / tf.maximum(mask_boxes[:, 2:] - mask_boxes[:, :2], 1e-6)
    in_mask = (rois - origin) * tf.tile(scale, [1, 2])  # pixels of the mask crop
    # A border of zeros: roi_align repeats the border of its map, but outside its box a mask is empty.
    padded = tf.pad(tf.cast(masks, tf.float32), [[0, 0], [1, 1], [1, 1]])[..., None]
    covered = roi_align(padded, in_mask + 1.0, tf.range(tf.shape(rois)[0]), 1.0, size)  # [R, M, M, 1]
    return tf.cast(covered[..., 0] >= 0.5, tf.float32)
