"""Boxes: float32, yxyx, absolute pixels, far edge not included (height = y2 - y1)."""

import math

import tensorflow as tf

# A 16 px box may grow to 1000 px and no more: exp() of a wild delta overflows.
MAX_LOG_SCALE = math.log(1000 / 16)


def area(boxes):
    """Returns the areas `[...]` of boxes `[..., 4]`; inverted boxes have none."""
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)  # [..., 2]
    return size[..., 0] * size[..., 1]


def intersection(boxes, others):
    """Returns the areas `[..., N, M]` that `boxes` `[..., N, 4]` share with `others` `[..., M, 4]`."""
    # One coordinate at a time: arrays of N x M x 2 would be cut and joined for longer than computed with.
    y1, x1, y2, x2 = (side[..., :, None] for side in tf.unstack(boxes, axis=-1))  # [..., N, 1]
    other_y1, other_x1, other_y2, other_x2 = (side[..., None, :] for side in tf.unstack(others, axis=-1))
    height = tf.nn.relu(tf.minimum(y2, other_y2) - tf.maximum(y1, other_y1))  # [..., N, M]
    width = tf.nn.relu(tf.minimum(x2, other_x2) - tf.maximum(x1, other_x1))
    return height * width


def iou(boxes, others, shared=None):
    """Returns the intersection over union of each of `boxes` with each of `others`.

    Args:
        boxes: `[..., N, 4]`, yxyx.
        others: `[..., M, 4]`, yxyx.
        shared: `[..., N, M]`, their `intersection` where it is known already.

    Returns:
        `[..., N, M]` in 0..1; 0 where both boxes are empty.
    """
    shared = intersection(boxes, others) if shared is None else shared
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - shared
    return tf.math.divide_no_nan(shared, union)


def generalized_iou(boxes, others):
    """Returns how well each of `boxes` fits the one of `others` at its place.

    Rezatofighi et al. 2019, algorithm 1.

    Args:
        boxes, others: `[..., 4]`, yxyx.

    Returns:
        `[...]` in -1..1: the IoU, less the share of the smallest box around both that neither covers; 0 where
        both are empty and in the same place.
    """
    overlap = tf.concat([tf.maximum(boxes, others)[..., :2], tf.minimum(boxes, others)[..., 2:]], axis=-1)
    around = tf.concat([tf.minimum(boxes, others)[..., :2], tf.maximum(boxes, others)[..., 2:]], axis=-1)
    shared, enclosing = area(overlap), area(around)
    union = area(boxes) + area(others) - shared
    return tf.math.divide_no_nan(shared, union) - tf.math.divide_no_nan(enclosing - union, enclosing)


def encode_deltas(boxes, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """Returns what a head should predict at `anchors` to arrive at `boxes`.

    R-CNN, appendix C, equations 6 to 9. The inverse of `decode_deltas` for boxes that have an area; the
    padding (empty boxes) gets finite numbers that no loss may use.

    Args:
        boxes: `[..., N, 4]`, yxyx.
        anchors: `[..., N, 4]`, yxyx: what the deltas are relative to.
        weights: four numbers that (dy, dx, dh, dw) are multiplied by.

    Returns:
        `[..., N, 4]`, (dy, dx, dh, dw).
    """
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)  # [..., N, 2]
    anchor_size = tf.maximum(anchors[..., 2:] - anchors[..., :2], 1e-6)
    centre = boxes[..., :2] + 0.5 * size
    anchor_centre = anchors[..., :2] + 0.5 * anchor_size
    shift = (centre - anchor_centre) / anchor_size
    return tf.concat([shift, tf.math.log(size / anchor_size)], axis=-1) * tf.constant(weights, boxes.dtype)


def decode_deltas(deltas, boxes, weights=(1.0, 1.0, 1.0, 1.0), clamp=True):
    """Moves `boxes` by the deltas that a head predicted for them.

    R-CNN, appendix C, equations 1 to 4.

    Args:
        deltas: `[..., N, 4]`, (dy, dx, dh, dw).
        boxes: `[..., N, 4]`, yxyx.
        weights: what `encode_deltas` multiplied each delta by.
        clamp: no box grows by more than MAX_LOG_SCALE allows.

    Returns:
        `[..., N, 4]`, yxyx, not clipped to the image.
    """
    size = boxes[..., 2:] - boxes[..., :2]  # [..., N, 2]
    centre = boxes[..., :2] + 0.5 * size
    deltas = deltas / tf.constant(weights, deltas.dtype)
    centre = centre + deltas[..., :2] * size
    log_scale = tf.minimum(deltas[..., 2:], MAX_LOG_SCALE) if clamp else deltas[..., 2:]
    size = size * tf.exp(log_scale)
    return tf.concat([centre - 0.5 * size, centre + 0.5 * size], axis=-1)


def windows(image_sizes, padded_size=None, centered=False):
    """Returns the part of each padded image that is image.

    Args:
        image_sizes: `[B, 2]`, (height, width) before padding.
        padded_size: (height, width) of all; only `centered` needs it.
        centered: the image lies in the middle, rounded to the top left, instead of at the top left.

    Returns:
        `[B, 4]` of the same dtype, yxyx.
    """
    origin = tf.zeros_like(image_sizes)
    if centered:
        origin = (tf.cast(padded_size, image_sizes.dtype) - image_sizes) // 2
    return tf.concat([origin, origin + image_sizes], axis=-1)


def large(boxes, min_size):
    """Tells which boxes are large enough.

    Args:
        boxes: `[..., 4]`, yxyx.
        min_size: of both sides; 0 is true of all but empty boxes, a negative number of all: an inclusive box
            (`layers.inclusive`) of a single pixel has sides of 0.

    Returns:
        `[...]` bool.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    return tf.reduce_all(size >= min_size if min_size else size > 0, axis=-1)


def clip(boxes, windows):
    """Cuts boxes off at the borders of their image.

    Args:
        boxes: `[B, ..., 4]`, yxyx.
        windows: `[B, 4]`, yxyx: the part that is image.

    Returns:
        The boxes inside the image; one that lies outside becomes empty.
    """
    between = [1] * (len(boxes.shape) - 2)
    near, far = (
        tf.reshape(tf.tile(corner, [1, 2]), [-1, *between, 4])
        for corner in tf.split(tf.cast(windows, boxes.dtype), 2, axis=-1)
    )
    return tf.clip_by_value(boxes, near, far)
