"""The losses of the paper: for each image, a sum and the count to divide it by, float32 `[B, 2]`.

Only `training.trainer` divides, because it alone sees the images of all replicas. Sums and counts are those
of torchvision. detectron2 differs in one count: it divides the RPN losses by the number of anchors that were
asked for, also where an image has fewer.
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
        `[B, 2]`: sum over the valid samples, their count.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _sum_and_count(losses, valid, valid)


def box_loss(deltas, targets, positive, valid, beta):
    """Smooth-L1 of the positives over the number of all samples (Faster R-CNN, equation 1, right).

    Args:
        deltas, targets: `[B, S, 4]`.
        positive, valid: `[B, S]` bool.
        beta: corner of the smooth-L1.

    Returns:
        `[B, 2]`: sum over the positive samples, count of the valid ones.
    """
    losses = tf.reduce_sum(smooth_l1(tf.cast(deltas, tf.float32), targets, beta), axis=-1)  # [B, S]
    return _sum_and_count(losses, positive, valid)


def giou_loss(deltas, targets, anchors, positive, valid, weights=(1.0, 1.0, 1.0, 1.0)):
    """1 - GIoU of the boxes that the deltas lead to (Rezatofighi et al. 2019), instead of `box_loss`.

    Args:
        deltas, targets: `[B, S, 4]`.
        anchors: `[B, S, 4]`, yxyx: what the deltas are relative to.
        positive, valid: `[B, S]` bool.
        weights: four numbers that the deltas are multiplied by.

    Returns:
        `[B, 2]`: sum over the positive samples, count of the valid ones.
    """
    deltas = tf.cast(deltas, tf.float32)
    boxes, objects = (box_ops.decode_deltas(x, anchors, weights) for x in (deltas, targets))
    return _sum_and_count(1.0 - box_ops.generalized_iou(boxes, objects), positive, valid)


def class_loss(logits, class_ids, valid):
    """Cross-entropy of the sampled RoIs (Fast R-CNN, equation 1, left).

    Args:
        logits: `[B, S, K + 1]`, background first.
        class_ids: `[B, S]` int32.
        valid: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the valid samples, their count.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=class_ids, logits=logits)
    return _sum_and_count(losses, valid, valid)


def mask_loss(logits, targets, positive):
    """Binary cross-entropy of the mask of the true class (section 3, L_mask).

    Args:
        logits: `[B, S, M, M]`, of each RoI's true class.
        targets: `[B, S, M, M]` of 0 and 1.
        positive: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the positive RoIs of the mean over the pixels of each, their count.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _sum_and_count(tf.reduce_mean(losses, axis=(-2, -1)), positive, positive)


def competing_mask_loss(logits, targets, positive):
    """Multinomial cross-entropy of each pixel over all classes (table 2b, "softmax").

    Args:
        logits: `[B, S, M, M, 2]`: log-odds of each RoI's true class, and of the background.
        targets: `[B, S, M, M]` of 0 and 1: a pixel of 1 is of the true class, one of 0 of the background.
        positive: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the positive RoIs of the mean over the pixels of each, their count.
    """
    right = tf.where(targets > 0.5, logits[..., 0], logits[..., 1])
    losses = tf.nn.softplus(-tf.cast(right, tf.float32))  # -log of the sigmoid
    return _sum_and_count(tf.reduce_mean(losses, axis=(-2, -1)), positive, positive)


def keypoint_loss(logits, cells, counts):
    """Cross-entropy of each keypoint over all cells of its heatmap (section 5).

    Args:
        logits: `[B, S, C, J]`, of the C cells.
        cells: `[B, S, J]` int32: the right one.
        counts: `[B, S, J]` bool.

    Returns:
        `[B, 2]`: sum over the keypoints that count, their number.
    """
    logits = tf.transpose(tf.cast(logits, tf.float32), [0, 1, 3, 2])  # [B, S, J, C]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=cells, logits=logits)  # [B, S, J]
    num_images, num_values = tf.shape(cells)[0], cells.shape[1] * cells.shape[2]
    losses, counts = (tf.reshape(each, [num_images, num_values]) for each in (losses, counts))
    return _sum_and_count(losses, counts, counts)


def _sum_and_count(losses, summed, counted):
    """Returns `[B, 2]`: the sum of the `losses` `[B, S]` that are `summed`, and how many are `counted`."""
    total = tf.reduce_sum(tf.where(summed, losses, 0.0), axis=-1)
    return tf.stack([total, tf.reduce_sum(tf.cast(counted, tf.float32), axis=-1)], axis=-1)
