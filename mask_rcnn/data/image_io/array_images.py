"""Checks images that a user gives as arrays; the error says how to convert the array."""

import numpy as np

from mask_rcnn.config import InputConfig

MAX_ARRAY_PIXELS = 1 << 30  # 3 GB as RGB; TensorFlow makes another copy


def checked_image(image: np.ndarray, settings: InputConfig | None = None) -> np.ndarray:
    """Returns an image that the user gave as an array. Raises a ValueError if the model cannot take it.

    Args:
        image: `[H, W, C]` with the channels and the dtype of `settings`. `[H, W]` is accepted for one
            channel.
        settings: `InputConfig`. Defaults to uint8 RGB.
    """
    image, settings = np.asarray(image), settings or InputConfig()
    if not settings.is_rgb8:
        return _checked_channels(image, settings)
    shape_fits = image.ndim == 3 and image.shape[-1] == 3 and image.size
    if image.dtype != np.uint8 or not shape_fits or image.size > 3 * MAX_ARRAY_PIXELS:
        raise ValueError(
            "An image must be an RGB array [H, W, 3] of uint8. "
            f"Received: shape={image.shape}, dtype={image.dtype}. {_conversion(image)} "
            "`mask_rcnn.read_image` reads files; OpenCV's images are BGR: use image[..., ::-1]."
        )
    return image


def _checked_channels(image, settings):
    """Returns an image of a model whose input is not uint8 RGB; see `checked_image`."""
    channels, dtype = settings.channels, settings.dtype
    image = image[..., None] if image.ndim == 2 and channels == 1 else image
    shape_fits = image.ndim == 3 and image.shape[-1] == channels and image.size
    if image.dtype != dtype or not shape_fits or image.size > 3 * MAX_ARRAY_PIXELS:
        raise ValueError(
            f"An image must be an array [H, W, {channels}] of {dtype}, as `input.channels` and `input.dtype` "
            f"say. Received: shape={image.shape}, dtype={image.dtype}. Put all channels last, and "
            "do not scale values of another dtype."
        )
    most = 256 * settings.counts_per_level - 1
    if image.max() > most:
        raise ValueError(
            f"A sample of an image must be at most {most}, as `input.bit_depth` says. "
            f"Received: {image.max()}. Correct `input.bit_depth`, or the image."
        )
    return image


def _conversion(image):
    """Returns the first step to convert an array to an image."""
    if image.ndim not in (2, 3):
        return "Give one image, not a batch, a path or a list of them."
    if not image.size:
        return "It has no pixels."
    if image.size > 3 * MAX_ARRAY_PIXELS:
        return f"It has more than {MAX_ARRAY_PIXELS} pixels: cut it into tiles."
    if image.ndim == 2 or image.shape[-1] == 1:
        return "Repeat a gray image: np.stack([image] * 3, axis=-1) of [H, W]."
    if image.shape[-1] == 4:
        return "Drop the alpha channel: image[..., :3]."
    if image.shape[-1] != 3:
        return "Put the channels last: image.transpose(1, 2, 0) of [3, H, W]."
    if image.dtype.kind == "f":
        return _float_conversion(image)
    if image.dtype == np.uint16:
        return "Keep the upper 8 bits that are used: (image >> 4).astype('uint8') of 12 bits."
    return "If the values are 0..255: image.astype('uint8')."


def _float_conversion(image):
    if not np.isfinite(image).all():
        return "Replace the values that are NaN or infinite."
    if image.max() <= 1:
        return "If the values are 0..1: (image * 255).round().astype('uint8')."
    return "If the values are 0..255: image.round().astype('uint8')."
