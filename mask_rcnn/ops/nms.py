"""Non-maximum suppression with outputs of fixed size: best boxes first, then padding rows of zeros."""

import tensorflow as tf

from mask_rcnn.ops import batched_nms
from mask_rcnn.ops.implementation import has_gpu
from mask_rcnn.ops.tensor import Tensor

# Candidates with this score are never selected. It marks padding rows and candidates below a threshold.
DROPPED = -1e9

# combined_non_max_suppression ignores scores below -1. Logits are therefore shifted by this number, and back
# afterwards: a logit above -64 becomes positive. The shifted float32 keeps a resolution of 1e-5, which is
# much finer than that of a sigmoid near 1.
LOGIT_SHIFT = 64.0


def nms_per_group(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, num_groups: int, iou_threshold: float, max_output: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppresses overlapping boxes within each group, then returns the best boxes of all groups.

    Args:
        boxes: `[B, N, 4]`, yxyx.
        scores: `[B, N]`, logits. Logits below -63 are treated as -63. Boxes with the score DROPPED are never
            returned.
        groups: `[N]` int32 in 0..num_groups-1, such as the pyramid level.
        num_groups: Number of groups.
        iou_threshold: A box is suppressed if its IoU with a higher-scored kept box of its group is larger.
        max_output: Number of boxes to return per image, M.

    Returns:
        Tuple of
        boxes: `[B, M, 4]`, yxyx; zeros where not valid.
        scores: `[B, M]`, logits in descending order; zeros where not valid.
        valid: `[B, M]` bool.
    """
    is_member = groups[:, None] == tf.range(num_groups)  # [N, groups]
    shifted = tf.where(scores > DROPPED, tf.maximum(scores + LOGIT_SHIFT, 1.0), 0.0)
    by_group = tf.where(is_member, shifted[:, :, None], 0.0)  # [B, N, groups]
    boxes, shifted, _, count = _combined_nms(
        boxes[:, :, None, :],
        by_group,
        iou_threshold=iou_threshold,
        score_threshold=0.0,
        max_output=max_output,
    )
    valid = tf.range(max_output) < count[:, None]
    return boxes, tf.where(valid, shifted - LOGIT_SHIFT, 0.0), valid


def nms_per_class(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Suppresses overlapping boxes within each class, then returns the best boxes of all classes.

    Args:
        boxes: `[B, N, K, 4]`, yxyx: one box per class, or `[B, N, 1, 4]`: one box for all classes.
        scores: `[B, N, K]`.
        iou_threshold: A box is suppressed if its IoU with a higher-scored kept box of its class is larger.
        score_threshold: Only boxes with a higher score are returned.
        max_output: Number of boxes to return per image, M.

    Returns:
        Tuple of
        boxes: `[B, M, 4]`, yxyx; zeros where not valid.
        scores: `[B, M]` in descending order; zeros where not valid.
        classes: `[B, M]` int32 in 0..K-1; zeros where not valid.
        valid: `[B, M]` bool.
    """
    boxes, scores, classes, count = _combined_nms(
        boxes, scores, iou_threshold=iou_threshold, score_threshold=score_threshold, max_output=max_output
    )
    return boxes, scores, classes, tf.range(max_output) < count[:, None]


def _combined_nms(boxes, scores, *, iou_threshold, score_threshold, max_output):
    """Returns the result of `batched_nms.combined_nms`, by the fastest implementation on this machine."""
    if has_gpu():
        return batched_nms.combined_nms(
            boxes, scores, iou_threshold=iou_threshold, score_threshold=score_threshold, max_output=max_output
        )
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
