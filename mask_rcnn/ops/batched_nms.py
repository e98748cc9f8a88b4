"""Non-maximum suppression for all images and classes at once, from operations that run on GPUs.

`tf.image.combined_non_max_suppression` has only a CPU kernel (TensorFlow 2.21).
"""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.tensor import Tensor

BLOCK = 512  # candidates per step; comparing a block with itself takes B * 512 * 512 numbers


def combined_nms(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the result of `tf.image.combined_non_max_suppression` with `clip_boxes=False`.

    The candidates of all classes are sorted by score. They are processed in blocks until each image has
    `max_output` boxes. Candidates with equal scores are processed in the order of their index. TensorFlow's
    kernel processes them in the order of its heap.

    Args:
        boxes: `[B, N, K, 4]` float32, yxyx: one box per class, or `[B, N, 1, 4]`: one box for all classes.
        scores: `[B, N, K]` float32. All scores must be above -1.
        iou_threshold: A box is suppressed if its IoU with a higher-scored kept box of its class is larger.
        score_threshold: Only boxes with a higher score are kept.
        max_output: Number of boxes to return per image, M.

    Returns:
        Tuple of
        boxes: `[B, M, 4]` float32, yxyx.
        scores: `[B, M]` float32, in descending order.
        classes: `[B, M]` int32 in 0..K-1.
        count: `[B]` int32, the number of boxes. The rows after them are zeros.
    """
    num_images, num_boxes, num_classes = tf.unstack(tf.shape(scores))
    scores = tf.where(scores > score_threshold, scores, -1.0)
    flat = tf.reshape(scores, [num_images, num_boxes * num_classes])
    num_padding = -tf.shape(flat)[1] % BLOCK  # pyright: ignore[reportOperatorIssue]  # the stubs lack `%`
    flat = tf.pad(flat, [[0, 0], [0, num_padding]], constant_values=-1.0)  # to whole blocks
    flat, order = tf.math.top_k(flat, tf.shape(flat)[1])
    class_boxes = tf.broadcast_to(boxes, [num_images, num_boxes, num_classes, 4])
    class_boxes = tf.reshape(class_boxes, [num_images, num_boxes * num_classes, 4])

    def add_block(start, *kept):
        candidates = order[:, start : start + BLOCK]
        candidates = tf.minimum(candidates, tf.shape(class_boxes)[1] - 1)  # padding has an index out of range
        block = (
            flat[:, start : start + BLOCK],
            tf.gather(class_boxes, candidates, batch_dims=1),
            candidates % num_classes,
        )
        return start + BLOCK, *_add_block(kept, block, iou_threshold)

    def unfinished(start, kept_scores, *_):
        first = flat[:, start : start + 1]  # [B, 1], the highest remaining score
        return tf.reduce_any((kept_scores[:, -1:] < 0.0) & (first > -1.0))

    count = [num_images, max_output]
    kept = (tf.fill(count, -1.0), tf.zeros([*count, 4]), tf.zeros(count, tf.int32))
    _, scores, boxes, classes = tf.while_loop(unfinished, add_block, (0, *kept))
    valid = scores > -1.0
    boxes = tf.where(valid[..., None], boxes, 0.0)
    count = tf.math.count_nonzero(valid, axis=1, dtype=tf.int32)
    return boxes, tf.where(valid, scores, 0.0), tf.where(valid, classes, 0), count


def _add_block(kept, block, iou_threshold):
    """Returns the best M boxes among the kept ones and the candidates of a block that no box suppresses.

    Args:
        kept: Tuple of scores `[B, M]` (descending, -1 in unused rows), boxes `[B, M, 4]` and classes
            `[B, M]` int32.
        block: The same tuple for the next C candidates: `[B, C]`, `[B, C, 4]`, `[B, C]`.
        iou_threshold: See `combined_nms`.

    Returns:
        Tuple like `kept`.
    """
    scores = tf.concat([kept[0], block[0]], axis=1)  # [B, M + C]
    boxes = tf.concat([kept[1], block[1]], axis=1)
    classes = tf.concat([kept[2], block[2]], axis=1)
    counts = scores > -1.0
    max_output = kept[0].shape[1]
    overlaps = box_ops.iou(block[1], boxes) > iou_threshold  # [B, C, M + C]
    overlaps &= (block[2][:, :, None] == classes[:, None, :]) & counts[:, None, :]
    rank = tf.range(tf.shape(scores)[1])
    overlaps &= rank[None, :] < rank[max_output:, None]  # only a higher-scored box may suppress

    def settle(chosen, _):
        free = ~tf.reduce_any(overlaps & chosen[:, None, :], axis=2)  # [B, C]
        settled = counts & tf.concat([tf.ones_like(kept[0], tf.bool), free], axis=1)
        return settled, tf.reduce_any(settled != chosen)

    # Iterates to a fixed point. Each round gives the final answer for at least one more candidate per image.
    chosen, _ = tf.while_loop(lambda _, changed: changed, settle, (counts, True))
    best, order = tf.math.top_k(tf.where(chosen, scores, -1.0), max_output)
    return best, tf.gather(boxes, order, batch_dims=1), tf.gather(classes, order, batch_dims=1)
