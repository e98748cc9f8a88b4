"""Non-maximum suppression of all images and classes at once, made of operations that GPUs have.

`tf.image.combined_non_max_suppression` has a kernel for CPUs only (TensorFlow 2.21).
"""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops

BLOCK = 512  # candidates compared with each other at once: B * 512 * 512 numbers


def combined_nms(boxes, scores, iou_threshold, score_threshold, max_output):
    """Returns what `tf.image.combined_non_max_suppression` returns, without its clipping.

    The candidates of all classes are taken in the order of their scores, a block at a time, until each image
    has `max_output` boxes. Of equal scores the lower index is first; the order of TensorFlow's kernel is then
    that of its heap.

    Args:
        boxes: `[B, N, K, 4]`, yxyx, one box of each class, or `[B, N, 1, 4]` for all of them.
        scores: `[B, N, K]`, above -1.
        iou_threshold: A box that overlaps a better one of its class by more is suppressed.
        score_threshold: Only higher scores count.
        max_output: Number of boxes to return, M.

    Returns:
        boxes `[B, M, 4]`, scores `[B, M]` in falling order, classes `[B, M]` int32 and the number of boxes
        `[B]` int32; zeros after the last box.
    """
    num_images, num_boxes, num_classes = tf.unstack(tf.shape(scores))
    scores = tf.where(scores > score_threshold, scores, -1.0)
    flat = tf.reshape(scores, [num_images, num_boxes * num_classes])
    flat = tf.pad(flat, [[0, 0], [0, -tf.shape(flat)[1] % BLOCK]], constant_values=-1.0)  # whole blocks
    flat, order = tf.math.top_k(flat, tf.shape(flat)[1])
    shared = tf.broadcast_to(boxes, [num_images, num_boxes, num_classes, 4])
    shared = tf.reshape(shared, [num_images, num_boxes * num_classes, 4])

    def add_block(start, *kept):
        places = order[:, start : start + BLOCK]
        places = tf.minimum(places, tf.shape(shared)[1] - 1)  # those of the padding do not count
        block = (
            flat[:, start : start + BLOCK],
            tf.gather(shared, places, batch_dims=1),
            places % num_classes,
        )
        return start + BLOCK, *_add_block(kept, block, iou_threshold)

    def unfinished(start, kept_scores, *_):
        first = flat[:, start : start + 1]  # [B, 1], the best candidate that is left
        return tf.reduce_any((kept_scores[:, -1:] < 0.0) & (first > -1.0))

    count = [num_images, max_output]
    kept = (tf.fill(count, -1.0), tf.zeros([*count, 4]), tf.zeros(count, tf.int32))
    _, scores, boxes, classes = tf.while_loop(unfinished, add_block, (0, *kept))
    valid = scores > -1.0
    boxes = tf.where(valid[..., None], boxes, 0.0)
    count = tf.math.count_nonzero(valid, axis=1, dtype=tf.int32)
    return boxes, tf.where(valid, scores, 0.0), tf.where(valid, classes, 0), count


def _add_block(kept, block, iou_threshold):
    """Returns the best `max_output` of what is kept and of the part of a block that nothing suppresses.

    Args:
        kept: scores `[B, M]`, falling, -1 where there is none; boxes `[B, M, 4]`; classes `[B, M]`.
        block: the same of the next candidates, `[B, C, ...]`.
        iou_threshold: As in `combined_nms`.
    """
    scores = tf.concat([kept[0], block[0]], axis=1)  # [B, M + C]
    boxes = tf.concat([kept[1], block[1]], axis=1)
    classes = tf.concat([kept[2], block[2]], axis=1)
    counts = scores > -1.0
    max_output = kept[0].shape[1]
    overlaps = box_ops.iou(block[1], boxes) > iou_threshold  # [B, C, M + C]
    overlaps &= (block[2][:, :, None] == classes[:, None, :]) & counts[:, None, :]
    place = tf.range(tf.shape(scores)[1])
    overlaps &= place[None, :] < place[max_output:, None]  # a better candidate alone suppresses

    def settle(chosen, _):
        free = ~tf.reduce_any(overlaps & chosen[:, None, :], axis=2)  # [B, C]
        settled = counts & tf.concat([tf.ones_like(kept[0], bool), free], axis=1)
        return settled, tf.reduce_any(settled != chosen)

    # Each round settles at least one more candidate of each image, and all that no settled one depends on.
    chosen, _ = tf.while_loop(lambda _, changed: changed, settle, (counts, True))
    best, order = tf.math.top_k(tf.where(chosen, scores, -1.0), max_output)
    return best, tf.gather(boxes, order, batch_dims=1), tf.gather(classes, order, batch_dims=1)
