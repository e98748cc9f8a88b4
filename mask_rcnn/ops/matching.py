"""Matching of anchors and RoIs with ground-truth objects."""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.tensor import Tensor

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1

# A negative with more than this fraction of its area in one crowd region is ignored. COCO's evaluation also
# ignores detections with half of their area in a crowd region (at its IoU threshold of 0.5).
COVERAGE = 0.5

# Largest size of an array `[B, C, N]` float32, bytes. It limits C, the number of regions that are compared
# with all boxes at a time. Up to seven such arrays are in memory at once.
MAX_BYTES = 64 * 2**20


def match(
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_class_ids: Tensor,
    *,
    thresholds: tuple[float, float],
    keep_best: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns the object that each box overlaps most, and whether the box is positive, negative or ignored.

    Faster R-CNN, section 3.1.2 (anchors: thresholds (0.3, 0.7), `keep_best=True`); Fast R-CNN, section 2.3
    (RoIs: thresholds (0.5, 0.5)). A box with an IoU between the thresholds is ignored.

    Ignored regions, such as COCO's crowds, turn negatives into ignored boxes. This happens to a negative in
    two cases: it would not be negative if the region were an object, or more than `COVERAGE` of its area lies
    in one ignored region.

    Args:
        boxes: `[B, N, 4]` or `[1, N, 4]`, yxyx.
        gt_boxes: `[B, T, 4]`, yxyx: objects and ignored regions, then padding rows.
        gt_class_ids: `[B, T]` int32: 1..K for objects, -1 for ignored regions, 0 for padding rows.
        thresholds: (low, high). A box is negative below the IoU `low` and positive from the IoU `high` on.
        keep_best: Whether the boxes with the highest IoU of each object are positive even if that IoU is
            below `high`. It must be above 0. Defaults to False.

    Returns:
        Tuple of
        indices: `[B, N]` int32, the row in `gt_boxes` of the object with the highest IoU; 0 without objects.
        labels: `[B, N]` int32, POSITIVE, NEGATIVE or IGNORED.
    """
    # Most of the T rows are padding, at the end. They are cut off.
    used = tf.reduce_max(tf.math.count_nonzero(gt_class_ids, axis=1, dtype=tf.int32))
    gt_boxes, gt_class_ids = gt_boxes[:, :used], gt_class_ids[:, :used]

    shape = [tf.shape(gt_boxes)[0], tf.shape(boxes)[1]]
    chunk = _regions_at_once(shape)

    def compare(start, best, indices, kept, ignored):
        some_boxes, class_ids = gt_boxes[:, start : start + chunk], gt_class_ids[:, start : start + chunk]
        intersections = box_ops.intersection(some_boxes, boxes)  # [B, C, N]: the longest axis last, for speed
        overlaps = box_ops.iou(some_boxes, boxes, intersections)
        is_best = _is_best(overlaps) if keep_best else False
        is_object, is_ignored = (class_ids > 0)[..., None], (class_ids < 0)[..., None]  # [B, C, 1]
        ignored = _or_in_region(
            ignored,
            is_ignored,
            lambda: (overlaps >= thresholds[0]) | is_best | _mostly_inside(boxes, intersections),
        )
        kept |= tf.reduce_any(is_object & is_best, axis=1)
        overlaps = tf.where(is_object, overlaps, -1.0)
        highest = tf.reduce_max(overlaps, axis=1)  # [B, N]
        position = start + tf.argmax(overlaps, axis=1, output_type=tf.int32)
        indices = tf.where(highest > best, position, indices)
        return start + chunk, tf.maximum(best, highest), indices, kept, ignored

    none = tf.zeros(shape, tf.bool)
    start = (0, tf.fill(shape, -1.0), tf.zeros(shape, tf.int32), none, none)
    _, best, indices, kept, ignored = tf.while_loop(
        lambda start, *_: start < used, compare, start, parallel_iterations=1
    )
    return indices, _labels(best, thresholds, ignored, kept)


def _labels(best, thresholds, ignored, kept):
    """Returns the labels `[B, N]` int32 of boxes with the highest IoU `best` `[B, N]`; see `match`."""
    low, high = thresholds
    labels = tf.where(best >= high, POSITIVE, tf.where(best < low, NEGATIVE, IGNORED))
    labels = tf.where((labels == NEGATIVE) & ignored, IGNORED, labels)
    return tf.where(kept, POSITIVE, labels)


def _regions_at_once(shape):
    """Returns C: how many regions to compare with all boxes of `shape` (B, N) at a time. At least 1."""
    row_bytes = 4 * tf.reduce_prod(tf.cast(shape, tf.int64))
    return tf.cast(tf.maximum(MAX_BYTES // tf.maximum(row_bytes, 1), 1), tf.int32)


def _or_in_region(ignored, is_region, condition):
    """Returns `ignored` `[B, N]`, also True where a box meets a condition for one of the regions.

    Args:
        ignored: `[B, N]` bool.
        is_region: `[B, C, 1]` bool.
        condition: Function that returns `[B, C, N]` bool. It is called only if there is a region.
    """
    return tf.cond(
        tf.reduce_any(is_region),
        lambda: ignored | tf.reduce_any(is_region & condition(), axis=1),
        lambda: ignored,
    )


def _is_best(overlaps):
    """Returns `[B, C, N]` bool: whether a box has the highest IoU with a region, and it is above 0."""
    best_of_region = tf.reduce_max(overlaps, axis=-1, keepdims=True)  # [B, C, 1]
    return (overlaps == best_of_region) & (best_of_region > 0)


def _mostly_inside(boxes, intersections):
    """Returns `[B, C, N]` bool: whether more than `COVERAGE` of the area of a box lies in a region."""
    return intersections > COVERAGE * box_ops.area(boxes)[..., None, :]
