"""`Resize` and `Predictor.preprocess` as TensorFlow ops.

A SavedModel maps images to the model's input and detections back to the original image with them.
"""

from typing import NamedTuple

import tensorflow as tf

from mask_rcnn.config import InputConfig
from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.export.image_graph.pillow_resize import resize_as_pillow
from mask_rcnn.export.image_graph.resize import pad_image, resize_image
from mask_rcnn.structures import FAR_EDGE


class Frame(NamedTuple):
    """Sizes of an image and its position in the model's input, all `[2]` int32, pixels.

    Args:
        original: (height, width) of the image.
        resized: (height, width) of the resized image.
        padded: (height, width) of the model's input.
        origin: (y, x) of the first pixel of the resized image in the padded one.
    """

    original: tf.Tensor
    resized: tf.Tensor
    padded: tf.Tensor
    origin: tf.Tensor


def make_frame(original: tf.Tensor, settings: InputConfig) -> Frame:
    """Returns the `Frame` of an image.

    Args:
        original: `[2]` int32, (height, width) of the image, pixels.
        settings: `InputConfig` of the model.
    """
    resized = resized_size(original, settings)
    padded = -(-resized // settings.pad_multiple) * settings.pad_multiple
    if settings.padded_size:
        padded = tf.constant(settings.padded_size)
    origin = (padded - resized) // 2 if settings.centered else tf.zeros_like(resized)
    return Frame(original, resized, padded, origin)


def resized_size(original: tf.Tensor, settings: InputConfig) -> tf.Tensor:
    """Returns `data.transforms.resized_size` for a `[2]` int32 tensor, computed in float64 as in Python."""
    sides = tf.cast(original, tf.float64)
    scale = settings.short_side / tf.reduce_min(sides)
    if settings.upscale_only:
        scale = tf.maximum(scale, 1.0)
    scaled = sides * tf.minimum(scale, settings.long_side / tf.reduce_max(sides))
    to_integer = {"round": lambda side: tf.floor(side + 0.5), "floor": tf.floor, "half_even": tf.round}
    return tf.maximum(tf.cast(to_integer[settings.size_rounding](scaled), tf.int32), 1)


def preprocess(image: tf.Tensor, frame: Frame, settings: InputConfig, *, dtype: tf.DType | str) -> tf.Tensor:
    """Resizes and pads an image.

    Args:
        image: `[H, W, C]`, uint8 RGB unless `settings` specify another format.
        frame: `Frame` of the image.
        settings: `InputConfig` of the model.
        dtype: Dtype of the model's images.

    Returns:
        `[H', W', C]` of `dtype`, where (H', W') is `frame.padded`.
    """
    if settings.resize == "antialiased_uint8":
        resized = tf.cast(resize_as_pillow(image, frame.resized), dtype)
    else:
        resized = tf.cast(resize_image(image, frame.resized, settings.resize), dtype)
    shape = [None, None, settings.channels]
    return tf.ensure_shape(pad_image(resized, frame.padded, frame.origin), shape)


def _as_float32(frame: Frame) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns `original`, `resized` and `origin` of a frame as float32."""
    original, resized, origin = (
        tf.cast(size, tf.float32) for size in (frame.original, frame.resized, frame.origin)
    )
    return original, resized, origin


def invert_boxes(boxes: tf.Tensor, frame: Frame, inclusive: bool) -> tf.Tensor:
    """Maps boxes from the padded image to the original one, as `Resize.invert_boxes` does.

    Args:
        boxes: `[..., 4]`, yxyx, pixels of the padded image.
        frame: `Frame` of the image.
        inclusive: Whether boxes include their last pixel, as in `Resize.invert_boxes`.

    Returns:
        `[..., 4]` float32, yxyx as fractions of the original image, clipped to 0..1.
    """
    original, resized, origin = _as_float32(frame)
    boxes -= tf.tile(origin, [2])
    if not inclusive:
        return tf.clip_by_value(boxes / tf.tile(resized, [2]), 0, 1)
    scale = tf.tile((original - 1) / tf.maximum(resized - 1, 1), [2])
    boxes = tf.round((boxes - FAR_EDGE) * scale + FAR_EDGE)
    return tf.clip_by_value(boxes / tf.tile(original, [2]), 0, 1)


def invert_keypoints(keypoints: tf.Tensor, frame: Frame, half_pixel: bool) -> tf.Tensor:
    """Maps keypoints from the padded image to the original one, as `Predictor` does.

    Args:
        keypoints: `[..., 3]`, y, x in pixels of the padded image, and the score.
        frame: `Frame` of the image.
        half_pixel: Bool, as in `KeypointHeadConfig`. If False, coordinates are pixel indices, and half a
            pixel of the original image is added to reach the pixel center.

    Returns:
        `[..., 3]` float32: y, x as fractions of the original image, and the score.
    """
    original, resized, origin = _as_float32(frame)
    points, scores = tf.split(keypoints, [2, 1], axis=-1)
    points = (points - origin) / resized
    if not half_pixel:
        points += HALF_PIXEL / original
    return tf.concat([points, scores], axis=-1)


def image_info(frame: Frame) -> tf.Tensor:
    """Returns `[4, 2]` float32: original size, resized size, resize scale, and origin, see `Frame`."""
    original, resized, origin = _as_float32(frame)
    return tf.stack([original, resized, resized / original, origin])


def zero_padding_rows(values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Returns `values` `[B, D, ...]` as float32, zero where `present` `[B, D]` is 0. `present` is 0 or 1."""
    axes = (..., *(tf.newaxis,) * (values.shape.rank - 2))
    return tf.cast(values, tf.float32) * present[axes]  # pyright: ignore[reportArgumentType]  # stub: no `...`
