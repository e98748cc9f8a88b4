"""Which object, if any, an anchor or a RoI stands for."""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1

# COCO's evaluation forgives a detection of which this much lies in a crowd region; so does training.
CROWD_COVERAGE = 0.5


def match(boxes, gt_boxes, gt_class_ids, thresholds, keep_best=False):
    """Matches each box with the object that it overlaps most.

    Faster R-CNN, section 3.1.2 (anchors: thresholds (0.3, 0.7), `keep_best`); Fast R-CNN, section 2.3
    (RoIs: (0.5, 0.5)). A box between the thresholds is ignored; so is a would-be negative inside a crowd.

    Args:
        boxes: `[B, N, 4]` or `[1, N, 4]`, yxyx.
        gt_boxes: `[B, G, 4]`, yxyx.
        gt_class_ids: `[B, G]` int32; 0 is padding, -1 a crowd.
        thresholds: (negative below, positive from).
        keep_best: the best boxes of each object are positive whatever their IoU.

    Returns:
        indices: `[B, N]` int32, the object of each box; 0 where there is none.
        labels: `[B, N]` int32, POSITIVE, NEGATIVE or IGNORED.
    """
    low, high = thresholds
    # Most of the G places are padding, behind everything else.
    used = tf.reduce_max(tf.math.count_nonzero(gt_class_ids, axis=1, dtype=tf.int32))
    used = tf.maximum(used, 1)
    gt_boxes, gt_class_ids = gt_boxes[:, :used], gt_class_ids[:, :used]
    shared = box_ops.intersection(boxes, gt_boxes)  # [B, N, G]
    overlaps = tf.where((gt_class_ids > 0)[:, None, :], box_ops.iou(boxes, gt_boxes, shared), -1.0)
    indices = tf.argmax(overlaps, axis=-1, output_type=tf.int32)  # [B, N]
    best = tf.reduce_max(overlaps, axis=-1)

    labels = tf.where(best >= high, POSITIVE, tf.where(best < low, NEGATIVE, IGNORED))
    labels = tf.where((labels == NEGATIVE) & _in_crowd(boxes, shared, gt_class_ids), IGNORED, labels)
    if keep_best:
        best_of_object = tf.reduce_max(overlaps, axis=1, keepdims=True)  # [B, 1, G]
        is_best = (overlaps == best_of_object) & (best_of_object > 0)
        labels = tf.where(tf.reduce_any(is_best, axis=-1), POSITIVE, labels)
    return indices, labels


def _in_crowd(boxes, shared, gt_class_ids):
    """Returns `[B, N]` bool: whether enough of a box lies in one crowd region."""
    is_crowd = gt_class_ids < 0  # [B, G]
    return tf.cond(
        tf.reduce_any(is_crowd),
        lambda: (
            tf.reduce_max(tf.where(is_crowd[:, None, :], shared, 0.0), axis=-1)
            > CROWD_COVERAGE * box_ops.area(boxes)
        ),
        lambda: tf.zeros(tf.shape(shared)[:2], bool),
    )
