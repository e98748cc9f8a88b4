"""Non-maximum suppression into fixed sizes: the best boxes first, zeros behind them."""

import tensorflow as tf

from mask_rcnn.ops import batched_nms
from mask_rcnn.ops.kernels import has_gpu

# Candidates with this score are never chosen: it marks padding and what a threshold dropped.
DROPPED = -1e9

# combined_non_max_suppression takes no scores below -1: logits are moved up by this and back, and sit above
# 0 as long as they are larger than -64. They keep a resolution of 1e-5, far finer than a sigmoid near 1.
LOGIT_SHIFT = 64.0


def nms_per_group(boxes, scores, groups, num_groups, iou_threshold, max_output):
    """Suppresses among boxes of the same group, and keeps the best of all groups.

    Args:
        boxes: `[B, N, 4]`, yxyx.
        scores: `[B, N]`, logits, those below -63 count as -63; DROPPED is never kept.
        groups: `[N]` int32 in 0..num_groups-1, as the pyramid level.
        num_groups: how many groups there are.
        iou_threshold: a box that overlaps a better one by more is suppressed.
        max_output: number of boxes to return, M.

    Returns:
        boxes `[B, M, 4]`, scores `[B, M]`, both in falling order of the scores and zero where not valid,
        and valid `[B, M]` bool.
    """
    mine = groups[:, None] == tf.range(num_groups)  # [N, groups]
    shifted = tf.where(scores > DROPPED, tf.maximum(scores + LOGIT_SHIFT, 1.0), 0.0)
    by_group = tf.where(mine, shifted[:, :, None], 0.0)  # [B, N, groups]
    boxes, shifted, _, count = _combined_nms(boxes[:, :, None, :], by_group, iou_threshold, 0.0, max_output)
    valid = tf.range(max_output) < count[:, None]
    return boxes, tf.where(valid, shifted - LOGIT_SHIFT, 0.0), valid


def nms_per_class(boxes, scores, iou_threshold, score_threshold, max_output):
    """Suppresses among boxes of the same class, and keeps the best of all classes.

    Args:
        boxes: `[B, N, K, 4]`, one box of each class, or `[B, N, 1, 4]` for all of them.
        scores: `[B, N, K]`.
        iou_threshold: a box that overlaps a better one of its class by more is suppressed.
        score_threshold: only higher scores count.
        max_output: number of boxes to return, M.

    Returns:
        boxes `[B, M, 4]`, scores `[B, M]` in falling order, classes `[B, M]` int32 in 0..K-1, and
        valid `[B, M]` bool; zeros where not valid.
    """
    boxes, scores, classes, count = _combined_nms(boxes, scores, iou_threshold, score_threshold, max_output)
    return boxes, scores, classes, tf.range(max_output) < count[:, None]


def _combined_nms(boxes, scores, iou_threshold, score_threshold, max_output):
    """Returns boxes, scores, classes and counts; see `batched_nms.combined_nms`."""
    if has_gpu():
        return batched_nms.combined_nms(boxes, scores, iou_threshold, score_threshold, max_output)
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        max_output_size_per_class=max_output,
        max_total_size=max_output,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        clip_boxes=False,
    )
    return boxes, scores, tf.cast(classes, tf.int32), count
