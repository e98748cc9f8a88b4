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
    is_object = gt_class_ids > 0  # [B, G]
    overlaps = tf.where(is_object[:, None, :], box_ops.iou(boxes, gt_boxes), -1.0)  # [B, N, G]
    indices = tf.argmax(overlaps, axis=-1, output_type=tf.int32)  # [B, N]
    best = tf.reduce_max(overlaps, axis=-1)

    labels = tf.where(best >= high, POSITIVE, tf.where(best < low, NEGATIVE, IGNORED))
    in_crowd = tf.where((gt_class_ids < 0)[:, None, :], box_ops.coverage(boxes, gt_boxes), 0.0)
    in_crowd = tf.reduce_max(in_crowd, axis=-1) >= CROWD_COVERAGE
    labels = tf.where((labels == NEGATIVE) & in_crowd, IGNORED, labels)
    if keep_best:
        best_of_object = tf.reduce_max(overlaps, axis=1, keepdims=True)  # [B, 1, G]
        is_best = (overlaps == best_of_object) & (best_of_object > 0) & is_object[:, None, :]
        labels = tf.where(tf.reduce_any(is_best, axis=-1), POSITIVE, labels)
    return indices, labels
