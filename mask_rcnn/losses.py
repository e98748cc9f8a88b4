"""The losses of the paper, float32, one number for each image: `[B]`.

Normalised in each image, so that neither the other images of a batch nor the number of replicas matter.
"""

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops


def smooth_l1(predictions, targets, beta):
    """Returns the elementwise loss of Fast R-CNN, equation 3, with its corner at `beta`; L1 for 0.

    >>> smooth_l1(tf.constant([0.5, 2.0]), tf.constant([0.0, 0.0]), 1.0).numpy()
    array([0.125, 1.5  ], dtype=float32)
    """
    distance = tf.abs(predictions - targets)
    if beta == 0:
        return distance
    return tf.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


def objectness_loss(logits, targets, valid):
    """Binary cross-entropy of the sampled anchors (Faster R-CNN, equation 1, left).

    Args:
        logits: `[B, S]`.
        targets: `[B, S]`, 1 for an object, 0 for background.
        valid: `[B, S]` bool.

    Returns:
        `[B]`, the mean over the valid samples.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _mean(losses, valid)


def box_loss(deltas, targets, positive, valid, beta):
    """Smooth-L1 of the positives over the number of all samples (Faster R-CNN, equation 1, right).

    Args:
        deltas, targets: `[B, S, 4]`.
        positive, valid: `[B, S]` bool.
        beta: corner of the smooth-L1.

    Returns:
        `[B]`.
    """
    losses = tf.reduce_sum(smooth_l1(tf.cast(deltas, tf.float32), targets, beta), axis=-1)  # [B, S]
    total = tf.reduce_sum(tf.where(positive, losses, 0.0), axis=-1)
    return total / tf.maximum(_count(valid), 1.0)


def giou_loss(deltas, targets, anchors, positive, valid, weights=(1.0, 1.0, 1.0, 1.0)):
    """1 - GIoU of the boxes that the deltas lead to (Rezatofighi et al. 2019), instead of `box_loss`.

    Args:
        deltas, targets: `[B, S, 4]`.
        anchors: `[B, S, 4]`, yxyx: what the deltas are relative to.
        positive, valid: `[B, S]` bool.
        weights: four numbers that the deltas are multiplied by.

    Returns:
        `[B]`.
    """
    deltas = tf.cast(deltas, tf.float32)
    boxes, objects = (box_ops.decode_deltas(x, anchors, weights) for x in (deltas, targets))
    losses = tf.where(positive, 1.0 - box_ops.generalized_iou(boxes, objects), 0.0)  # [B, S]
    return tf.reduce_sum(losses, axis=-1) / tf.maximum(_count(valid), 1.0)


def class_loss(logits, class_ids, valid):
    """Cross-entropy of the sampled RoIs (Fast R-CNN, equation 1, left).

    Args:
        logits: `[B, S, K + 1]`, background first.
        class_ids: `[B, S]` int32.
        valid: `[B, S]` bool.

    Returns:
        `[B]`, the mean over the valid samples.
    """
    logits = tf.cast(logits, tf.float32)
    return _mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=class_ids, logits=logits), valid)


def mask_loss(logits, targets, positive):
    """Binary cross-entropy of the mask of the true class (section 3, L_mask).

    Args:
        logits: `[B, S, M, M]`, of each RoI's true class.
        targets: `[B, S, M, M]` of 0 and 1.
        positive: `[B, S]` bool.

    Returns:
        `[B]`, the mean over the pixels of the positive RoIs; 0 without any.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _mean(tf.reduce_mean(losses, axis=(-2, -1)), positive)


def keypoint_loss(logits, cells, counts):
    """Cross-entropy of each keypoint over all cells of its heatmap (section 5).

    Args:
        logits: `[B, S, C, J]`, of the C cells.
        cells: `[B, S, J]` int32: the right one.
        counts: `[B, S, J]` bool.

    Returns:
        `[B]`, the mean over the keypoints of the image that count; 0 without any. detectron2 divides by those
        of the batch.
    """
    logits = tf.transpose(tf.cast(logits, tf.float32), [0, 1, 3, 2])  # [B, S, J, C]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=cells, logits=logits)  # [B, S, J]
    num_images, num_values = tf.shape(cells)[0], cells.shape[1] * cells.shape[2]
    losses, counts = (tf.reshape(each, [num_images, num_values]) for each in (losses, counts))
    return _mean(losses, counts)


def _count(mask):
    return tf.reduce_sum(tf.cast(mask, tf.float32), axis=-1)


def _mean(values, mask):
    return tf.reduce_sum(tf.where(mask, values, 0.0), axis=-1) / tf.maximum(_count(mask), 1.0)
