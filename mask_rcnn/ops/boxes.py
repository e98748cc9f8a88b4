"""Functions on boxes: float32, yxyx, absolute pixels, far edge not included (height = y2 - y1)."""

import math
from collections.abc import Sequence

import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor

# Largest decoded dh and dw: a 16 pixel box grows to at most 1000 pixels. exp() of a huge delta overflows.
MAX_LOG_SCALE = math.log(1000 / 16)


def area(boxes: Tensor) -> Tensor:
    """Returns the areas `[...]` of boxes `[..., 4]`, yxyx. Inverted boxes have an area of 0."""
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)  # [..., 2]
    return size[..., 0] * size[..., 1]


def intersection(boxes: Tensor, other_boxes: Tensor) -> Tensor:
    """Returns the areas `[..., N, M]` that `boxes` `[..., N, 4]` share with `other_boxes` `[..., M, 4]`."""
    # Computed per coordinate: slicing and joining `[N, M, 2]` arrays takes longer than the arithmetic.
    y1, x1, y2, x2 = (side[..., :, None] for side in tf.unstack(boxes, axis=-1))  # [..., N, 1]
    other_y1, other_x1, other_y2, other_x2 = (side[..., None, :] for side in tf.unstack(other_boxes, axis=-1))
    height = tf.nn.relu(tf.minimum(y2, other_y2) - tf.maximum(y1, other_y1))  # [..., N, M]
    width = tf.nn.relu(tf.minimum(x2, other_x2) - tf.maximum(x1, other_x1))
    return height * width


def iou(boxes: Tensor, other_boxes: Tensor, intersections: Tensor | None = None) -> Tensor:
    """Returns the intersection over union of each of `boxes` with each of `other_boxes`.

    Args:
        boxes: `[..., N, 4]`, yxyx.
        other_boxes: `[..., M, 4]`, yxyx.
        intersections: `[..., N, M]`, the result of `intersection` if already known. Defaults to None: it is
            computed.

    Returns:
        `[..., N, M]` in 0..1. 0 where both boxes are empty.
    """
    shared = intersection(boxes, other_boxes) if intersections is None else intersections
    union = area(boxes)[..., :, None] + area(other_boxes)[..., None, :] - shared
    return tf.math.divide_no_nan(shared, union)


def generalized_iou(boxes: Tensor, other_boxes: Tensor) -> Tensor:
    """Returns the generalized IoU of each box and the box with the same index in `other_boxes`.

    Rezatofighi et al. 2019, algorithm 1. GIoU is the IoU minus a penalty. The penalty is the fraction of the
    smallest enclosing box that neither of the two boxes covers.

    Args:
        boxes, other_boxes: `[..., 4]`, yxyx.

    Returns:
        `[...]` in -1..1. 0 where both boxes are empty and at the same place.
    """
    overlap = tf.concat(
        [tf.maximum(boxes, other_boxes)[..., :2], tf.minimum(boxes, other_boxes)[..., 2:]], axis=-1
    )
    around = tf.concat(
        [tf.minimum(boxes, other_boxes)[..., :2], tf.maximum(boxes, other_boxes)[..., 2:]], axis=-1
    )
    overlap_area, enclosing = area(overlap), area(around)
    union = area(boxes) + area(other_boxes) - overlap_area
    return tf.math.divide_no_nan(overlap_area, union) - tf.math.divide_no_nan(enclosing - union, enclosing)


def encode_deltas(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Returns the deltas that transform `anchors` into `boxes`: the regression targets of a head.

    R-CNN, appendix C, equations 6 to 9. It is the inverse of `decode_deltas` for boxes with an area. Empty
    boxes (padding rows) get finite values, which no loss may use.

    Args:
        boxes: `[..., N, 4]`, yxyx.
        anchors: `[..., N, 4]`, yxyx: the boxes that the deltas are relative to.
        weights: Four factors for (dy, dx, dh, dw). Defaults to ones.

    Returns:
        `[..., N, 4]`, (dy, dx, dh, dw), multiplied by `weights`.
    """
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)  # [..., N, 2]
    anchor_size = tf.maximum(anchors[..., 2:] - anchors[..., :2], 1e-6)
    center = boxes[..., :2] + 0.5 * size
    anchor_center = anchors[..., :2] + 0.5 * anchor_size
    shift = (center - anchor_center) / anchor_size
    return tf.concat([shift, tf.math.log(size / anchor_size)], axis=-1) * tf.constant(weights, boxes.dtype)


def decode_deltas(
    deltas: Tensor, boxes: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0), *, clamp: bool = True
) -> Tensor:
    """Returns `boxes` moved and scaled by the predicted deltas.

    R-CNN, appendix C, equations 1 to 4.

    Args:
        deltas: `[..., N, 4]`, (dy, dx, dh, dw).
        boxes: `[..., N, 4]`, yxyx.
        weights: The four factors that `encode_deltas` multiplied the deltas by. Defaults to ones.
        clamp: Whether to limit dh and dw to MAX_LOG_SCALE. Defaults to True.

    Returns:
        `[..., N, 4]`, yxyx, not clipped to the image.
    """
    size = boxes[..., 2:] - boxes[..., :2]  # [..., N, 2]
    center = boxes[..., :2] + 0.5 * size
    deltas = deltas / tf.constant(weights, deltas.dtype)
    center = center + deltas[..., :2] * size
    log_scale = tf.minimum(deltas[..., 2:], MAX_LOG_SCALE) if clamp else deltas[..., 2:]
    size = size * tf.exp(log_scale)
    return tf.concat([center - 0.5 * size, center + 0.5 * size], axis=-1)


def image_windows(
    image_sizes: Tensor, padded_size: Tensor | Sequence[int] | None = None, centered: bool = False
) -> Tensor:
    """Returns the region of each padded image that contains the image itself.

    Args:
        image_sizes: `[B, 2]`, (height, width) before padding, pixels.
        padded_size: (height, width) of the padded images. Required only if `centered` is True.
            Defaults to None.
        centered: Whether the image is in the center of the padding (origin rounded down) instead of at the
            top left. Defaults to False.

    Returns:
        `[B, 4]` of the dtype of `image_sizes`, yxyx, pixels.
    """
    origin = tf.zeros_like(image_sizes)
    if centered:
        if padded_size is None:
            raise ValueError(
                "Centered images need the size of their padding. Received: padded_size=None. "
                "Pass (height, width) of the padded images."
            )
        origin = (tf.cast(padded_size, image_sizes.dtype) - image_sizes) // 2
    return tf.concat([origin, origin + image_sizes], axis=-1)


def is_large(boxes: Tensor, min_size: float) -> Tensor:
    """Returns which boxes have a height and width of at least `min_size`.

    Args:
        boxes: `[..., 4]`, yxyx.
        min_size: Minimum height and width, pixels. 0 accepts every box whose height and width are above 0.
            A negative number also accepts sides of 0: an inclusive box of one pixel (`layers.inclusive`) has
            sides of 0.

    Returns:
        `[...]` bool.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    return tf.reduce_all(size >= min_size if min_size else size > 0, axis=-1)


def clip(boxes: Tensor, windows: Tensor) -> Tensor:
    """Returns the boxes clipped to their image.

    Args:
        boxes: `[B, ..., 4]`, yxyx.
        windows: `[B, 4]`, yxyx: the region of the image, see the function `windows`.

    Returns:
        `[B, ..., 4]`, yxyx. A box outside the window becomes empty.
    """
    between = [1] * (len(boxes.shape) - 2)
    near, far = (
        tf.reshape(tf.tile(corner, [1, 2]), [-1, *between, 4])
        for corner in tf.split(tf.cast(windows, boxes.dtype), 2, axis=-1)
    )
    return tf.clip_by_value(boxes, near, far)
