"""Geometry of an image on its way into the network, and back."""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


def resized_size(height, width, short_side, long_side, rounding):
    """Size of an image whose short side becomes `short_side`, unless the long one would exceed `long_side`.

    Args:
        height, width: of the image, pixels.
        short_side, long_side: pixels.
        rounding: "round" (detectron2) or "floor" (torchvision), of both sides.

    Returns:
        (height, width).

    >>> resized_size(480, 640, 800, 1333, "round")
    (800, 1067)
    """
    scale = min(short_side / min(height, width), long_side / max(height, width))
    if rounding == "floor":
        return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@dataclass(frozen=True)
class Resize:
    """A resize that remembers how to undo itself.

    Args:
        original: (height, width) of the image.
        resized: (height, width) that it becomes.
    """

    original: tuple[int, int]
    resized: tuple[int, int]

    @property
    def scale(self):
        """`[4]` float64: what a yxyx box is multiplied by."""
        return np.tile(np.divide(self.resized, self.original), 2)

    def apply(self, image):
        """Returns `[H, W, C]` as float32 `[*resized, C]`; see `resize_image`."""
        return resize_image(image, self.resized)

    def apply_boxes(self, boxes):
        """Moves `[..., 4]` boxes of the original image to the resized one, float32."""
        return (np.asarray(boxes) * self.scale).astype("float32")

    def invert_boxes(self, boxes):
        """Moves `[..., 4]` boxes of the resized image to the original one, clipped to it, float32."""
        limits = np.tile(np.array(self.original, "float64"), 2)
        return np.clip(np.asarray(boxes) / self.scale, 0, limits).astype("float32")


def resize_image(image, size):
    """Bilinear, sampled at pixel centres, without antialias, as the models were trained (references.md 5).

    Args:
        image: `[H, W, C]` uint8 or float32.
        size: (height, width), numbers or an int32 tensor.

    Returns:
        `[*size, C]` float32, same range.
    """
    return tf.image.resize(image, size, method="bilinear", antialias=False)


def pad_image(image, size):
    """Adds zeros below and to the right of `[H, W, C]` up to `size`, (height, width)."""
    return tf.pad(image, [[0, size[0] - tf.shape(image)[0]], [0, size[1] - tf.shape(image)[1]], [0, 0]])


def flip_boxes(boxes, width):
    """Mirrors `[..., 4]` boxes left to right in an image of that width."""
    y1, x1, y2, x2 = np.moveaxis(np.asarray(boxes), -1, 0)
    return np.stack([y1, width - x2, y2, width - x1], axis=-1)
