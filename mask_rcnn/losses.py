"""Losses of the paper. Each returns float32 `[B, 2]`: the sum per image, and the count to divide it by.

`training.trainer` divides them, because only the trainer sees the images of all replicas. Sums and counts are
the same as in torchvision. detectron2 differs in one count: it divides the RPN losses by the requested number
of anchors, even if an image has fewer.
"""

from collections.abc import Sequence

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.tensor import Tensor


def smooth_l1(predictions: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Returns the elementwise smooth-L1 loss (Fast R-CNN, equation 3).

    Args:
        predictions, targets: Float tensors of the same shape.
        beta: Absolute error at which the loss changes from quadratic to linear. 0 gives the L1 loss.

    >>> smooth_l1(tf.constant([0.5, 2.0]), tf.constant([0.0, 0.0]), 1.0).numpy()
    array([0.125, 1.5  ], dtype=float32)
    """
    distance = tf.abs(predictions - targets)
    if beta == 0:
        return distance
    return tf.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


def objectness_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Returns the binary cross-entropy of the sampled anchors (Faster R-CNN, equation 1, left term).

    Args:
        logits: `[B, S]`.
        targets: `[B, S]` float32, 1 for an object, 0 for background.
        valid: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the valid samples, and their count.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _sum_and_count(losses, valid, valid)


def box_loss(deltas: Tensor, targets: Tensor, *, positive: Tensor, valid: Tensor, beta: float) -> Tensor:
    """Returns the smooth-L1 loss of the positives (Faster R-CNN, equation 1, right term).

    Args:
        deltas: `[B, S, 4]`, predicted (dy, dx, dh, dw).
        targets: `[B, S, 4]`, target deltas.
        positive, valid: `[B, S]` bool.
        beta: Transition point of the smooth-L1 loss, see `smooth_l1`.

    Returns:
        `[B, 2]`: sum over the positive samples, and count of the valid samples.
    """
    losses = tf.reduce_sum(smooth_l1(tf.cast(deltas, tf.float32), targets, beta), axis=-1)  # [B, S]
    return _sum_and_count(losses, positive, valid)


def giou_loss(
    deltas: Tensor,
    targets: Tensor,
    anchors: Tensor,
    *,
    positive: Tensor,
    valid: Tensor,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """Returns 1 - GIoU of predicted and target boxes (Rezatofighi et al. 2019). An alternative to `box_loss`.

    Args:
        deltas: `[B, S, 4]`, predicted (dy, dx, dh, dw).
        targets: `[B, S, 4]`, target deltas.
        anchors: `[B, S, 4]`, yxyx: the boxes that the deltas are relative to.
        positive, valid: `[B, S]` bool.
        weights: Four factors that `encode_deltas` multiplied the target deltas by. Defaults to ones.

    Returns:
        `[B, 2]`: sum over the positive samples, and count of the valid samples.
    """
    deltas = tf.cast(deltas, tf.float32)
    boxes, objects = (box_ops.decode_deltas(x, anchors, weights) for x in (deltas, targets))
    return _sum_and_count(1.0 - box_ops.generalized_iou(boxes, objects), positive, valid)


def class_loss(logits: Tensor, class_ids: Tensor, valid: Tensor) -> Tensor:
    """Returns the cross-entropy of the sampled RoIs over all classes (Fast R-CNN, equation 1, left term).

    Args:
        logits: `[B, S, K + 1]`, background first.
        class_ids: `[B, S]` int32, target classes, 0 is background.
        valid: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the valid samples, and their count.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=class_ids, logits=logits)
    return _sum_and_count(losses, valid, valid)


def mask_loss(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Returns the binary cross-entropy of the masks of the true classes (section 3, L_mask).

    Args:
        logits: `[B, S, M, M]`, of each RoI's true class.
        targets: `[B, S, M, M]` float32 of 0 and 1.
        positive: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the positive RoIs of the mean over the pixels, and count of the positive RoIs.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return _sum_and_count(tf.reduce_mean(losses, axis=(-2, -1)), positive, positive)


def competing_mask_loss(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Returns the multinomial cross-entropy of each pixel over all classes (table 2b, "softmax").

    Args:
        logits: `[B, S, M, M, 2]` of `SoftmaxMasks`: log-odds of each RoI's true class and of background.
        targets: `[B, S, M, M]` float32: 1 where the pixel belongs to the true class, 0 for background.
        positive: `[B, S]` bool.

    Returns:
        `[B, 2]`: sum over the positive RoIs of the mean over the pixels, and count of the positive RoIs.
    """
    right = tf.where(targets > 0.5, logits[..., 0], logits[..., 1])
    losses = tf.nn.softplus(-tf.cast(right, tf.float32))  # -log of the sigmoid
    return _sum_and_count(tf.reduce_mean(losses, axis=(-2, -1)), positive, positive)


def keypoint_loss(logits: Tensor, cells: Tensor, counts: Tensor) -> Tensor:
    """Returns the cross-entropy of each keypoint over all cells of its heatmap (section 5).

    Args:
        logits: `[B, S, C, J]` for the C cells of a heatmap.
        cells: `[B, S, J]` int32, the target cells.
        counts: `[B, S, J]` bool: whether a keypoint counts in the loss.

    Returns:
        `[B, 2]`: sum over the keypoints that count, and their number.
    """
    logits = tf.transpose(tf.cast(logits, tf.float32), [0, 1, 3, 2])  # [B, S, J, C]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=cells, logits=logits)  # [B, S, J]
    num_images, num_values = tf.shape(cells)[0], cells.shape[1] * cells.shape[2]
    losses, counts = (tf.reshape(each, [num_images, num_values]) for each in (losses, counts))
    return _sum_and_count(losses, counts, counts)


def _sum_and_count(losses, summed, counted):
    """Returns `[B, 2]`: sum of `losses` `[B, S]` where `summed`, and number of True values in `counted`."""
    total = tf.reduce_sum(tf.where(summed, losses, 0.0), axis=-1)
    return tf.stack([total, tf.reduce_sum(tf.cast(counted, tf.float32), axis=-1)], axis=-1)
