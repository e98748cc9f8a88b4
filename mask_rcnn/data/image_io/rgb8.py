"""Converts between images of any format and 8-bit RGB pictures for people."""

import numpy as np

from mask_rcnn.config import InputConfig


def to_rgb8(image: np.ndarray, settings: InputConfig) -> np.ndarray:
    """Returns an image as an RGB picture, from its first three channels or its first channel as gray.

    Args:
        image: `[H, W, C]`, pixels in the input format of the model.
        settings: `InputConfig` with their channels and bits.

    Returns:
        `[H, W, 3]` uint8. An image that is already 8-bit RGB is returned unchanged.
    """
    if settings.is_rgb8:
        return image
    colors = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, axis=-1)
    return (colors // settings.counts_per_level).astype("uint8")


def from_rgb8(images: np.ndarray, settings: InputConfig) -> np.ndarray:
    """Returns RGB pictures as input images of a model, whose channels are red, green and blue in turn.

    Args:
        images: `[..., 3]` uint8.
        settings: `InputConfig` of the model.

    Returns:
        `[..., C]` of `input.dtype`, with the same brightness.
    """
    if settings.is_rgb8:
        return images
    return images[..., np.arange(settings.channels) % 3].astype(settings.dtype) * settings.counts_per_level
