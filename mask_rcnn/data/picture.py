"""Images of any channels and bits as pictures that a person can look at, and pictures as such images."""

import numpy as np


def to_rgb8(image, settings):
    """Returns an image as a picture: red, green and blue are its first three channels, or gray its first one.

    Args:
        image: `[H, W, C]`, pixels as the model gets them.
        settings: `InputConfig` with their channels and bits.

    Returns:
        `[H, W, 3]` uint8; the image itself if it is one.
    """
    if settings.is_rgb8:
        return image
    colors = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, axis=-1)
    return (colors // settings.counts_per_level).astype("uint8")


def from_rgb8(images, settings):
    """Returns pictures as images of a model: its channels are red, green and blue in turn.

    Args:
        images: `[..., 3]` uint8.
        settings: `InputConfig` of the model.

    Returns:
        `[..., C]`, as bright as the pictures.
    """
    if settings.is_rgb8:
        return images
    return images[..., np.arange(settings.channels) % 3].astype(settings.dtype) * settings.counts_per_level
