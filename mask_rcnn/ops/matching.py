"""Which object, if any, an anchor or a RoI stands for."""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1

# COCO's evaluation forgives a detection of which this much lies in a crowd region; so does training.
COVERAGE = 0.5

# Bytes of the largest array: as many regions are compared with all boxes at a time as fit into it, float32
# `[B, C, N]`. Up to seven such arrays are alive at once.
MAX_BYTES = 64 * 2**20


def match(boxes, gt_boxes, gt_class_ids, thresholds, keep_best=False):
    """Matches each box with the object that it overlaps most.

    Faster R-CNN, section 3.1.2 (anchors: thresholds (0.3, 0.7), `keep_best`); Fast R-CNN, section 2.3
    (RoIs: (0.5, 0.5)). A box between the thresholds is ignored.

    A would-be negative is ignored too if it would not be a negative with an ignored region as an object, or
    if more than half of it lies in one ignored region.

    Args:
        boxes: `[B, N, 4]` or `[1, N, 4]`, yxyx.
        gt_boxes: `[B, T, 4]`, yxyx; objects and ignored regions.
        gt_class_ids: `[B, T]` int32; 0 is padding, -1 an ignored region.
        thresholds: (negative below, positive from).
        keep_best: the best boxes of each object are positive whatever their IoU.

    Returns:
        indices: `[B, N]` int32, the object of each box; 0 where there is none.
        labels: `[B, N]` int32, POSITIVE, NEGATIVE or IGNORED.
    """
    low, high = thresholds
    # Most of the T places are padding, after everything else.
    used = tf.reduce_max(tf.math.count_nonzero(gt_class_ids, axis=1, dtype=tf.int32))
    gt_boxes, gt_class_ids = gt_boxes[:, :used], gt_class_ids[:, :used]

    shape = [tf.shape(gt_boxes)[0], tf.shape(boxes)[1]]
    chunk = _regions_at_once(shape)

    def compare(start, best, indices, kept, ignored):
        some_boxes, class_ids = gt_boxes[:, start : start + chunk], gt_class_ids[:, start : start + chunk]
        shared = box_ops.intersection(some_boxes, boxes)  # [B, C, N]: boxes last, which are the most
        overlaps = box_ops.iou(some_boxes, boxes, shared)
        is_best = _is_best(overlaps) if keep_best else False
        is_object, is_ignored = (class_ids > 0)[..., None], (class_ids < 0)[..., None]  # [B, C, 1]
        ignored |= tf.cond(
            tf.reduce_any(is_ignored),
            lambda: tf.reduce_any(
                is_ignored & ((overlaps >= low) | is_best | _mostly_inside(boxes, shared)), axis=1
            ),
            lambda: tf.zeros_like(ignored),
        )
        kept |= tf.reduce_any(is_object & is_best, axis=1)
        overlaps = tf.where(is_object, overlaps, -1.0)
        found = tf.reduce_max(overlaps, axis=1)  # [B, N]
        position = start + tf.argmax(overlaps, axis=1, output_type=tf.int32)
        indices = tf.where(found > best, position, indices)
        return start + chunk, tf.maximum(best, found), indices, kept, ignored

    none = tf.zeros(shape, bool)
    start = (0, tf.fill(shape, -1.0), tf.zeros(shape, tf.int32), none, none)
    _, best, indices, kept, ignored = tf.while_loop(
        lambda start, *_: start < used, compare, start, parallel_iterations=1
    )
    labels = tf.where(best >= high, POSITIVE, tf.where(best < low, NEGATIVE, IGNORED))
    labels = tf.where((labels == NEGATIVE) & ignored, IGNORED, labels)
    return indices, tf.where(kept, POSITIVE, labels)


def _regions_at_once(shape):
    """Returns how many regions are compared with all boxes `[B, N]` at a time, C, at least 1."""
    row_bytes = 4 * tf.reduce_prod(tf.cast(shape, tf.int64))
    return tf.cast(tf.maximum(MAX_BYTES // tf.maximum(row_bytes, 1), 1), tf.int32)


def _is_best(overlaps):
    """Returns `[B, C, N]` bool: whether no other box overlaps a region more."""
    best_of_region = tf.reduce_max(overlaps, axis=-1, keepdims=True)  # [B, C, 1]
    return (overlaps == best_of_region) & (best_of_region > 0)


def _mostly_inside(boxes, shared):
    """Returns `[B, C, N]` bool: whether more than `COVERAGE` of a box lies in a region."""
    return shared > COVERAGE * box_ops.area(boxes)[..., None, :]
