"""Layers that prepare the images before the backbone."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.tensor import Shape, Tensor
from mask_rcnn.structures import FAR_EDGE


@keras.saving.register_keras_serializable(package="mask_rcnn")
class NormalizeImages(keras.layers.Layer):
    """Subtracts the mean and divides by the standard deviation of each channel.

    Args:
        mean: C floats, the mean of each channel, in the unit of the pixels.
        std: C floats, the standard deviation of each channel.
        padding: Value of the padding. "mean" sets it to 0 after normalization, which is the mean color.
            "black" normalizes it like the image. Defaults to "mean".
        centered: Whether the image is in the center of its padding, see `ops.boxes.windows`. Defaults to
            False: top left.

    Call arguments:
        images: `[B, H, W, C]`, such as RGB 0..255.
        image_sizes: `[B, 2]`, (height, width) before padding.

    Output shape:
        `[B, H, W, C]`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        padding: str = "mean",
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.padding = padding
        self.centered = centered

    def call(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        dtype = self.variable_dtype  # float32 until the final cast: bfloat16 has only 8 significant bits
        pixels = (tf.cast(images, dtype) - tf.constant(self.mean, dtype)) / tf.constant(self.std, dtype)
        if self.padding == "mean":
            size = tf.shape(images)[1:3]
            top, left, bottom, right = tf.split(
                box_ops.image_windows(image_sizes, size, self.centered), 4, axis=1
            )
            y, x = tf.range(size[0], dtype=tf.float32), tf.range(size[1], dtype=tf.float32)
            rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)  # [B, H], [B, W]
            inside = rows[:, :, None, None] & columns[:, None, :, None]
            pixels = tf.where(inside, pixels, tf.zeros([], dtype))
        return tf.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, images_shape: Shape, image_sizes_shape: Shape | None = None) -> Shape:
        return images_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "mean": self.mean,
            "std": self.std,
            "padding": self.padding,
            "centered": self.centered,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ImageWindows(Float32Layer):
    """Returns the regions of the padded images that proposals and detections are clipped to.

    Args:
        centered: Whether images are in the center of their padding, see `ops.boxes.windows`. If True,
            proposals may extend into the padding, as in matterport. Defaults to False.
        inclusive: Whether the far edge of a box is its last pixel, see `layers.inclusive`. Defaults to False.

    Call arguments:
        image_sizes: `[B, 2]`, (height, width) before padding.
        images: `[B, H, W, C]`, padded. Required only if `centered` is True. Defaults to None.

    Returns:
        Dict of
        `proposals`: `[B, 4]`, yxyx, pixels.
        `detections`: `[B, 4]`, yxyx, pixels.
    """

    def __init__(self, centered: bool = False, inclusive: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centered = centered
        self.inclusive = inclusive

    def call(self, image_sizes: Tensor, images: Tensor | None = None) -> dict[str, Tensor]:
        last = tf.constant(FAR_EDGE if self.inclusive else (0.0, 0.0, 0.0, 0.0))
        if not self.centered:
            windows = box_ops.image_windows(image_sizes, None, centered=False) - last
            return {"proposals": windows, "detections": windows}
        if images is None:
            raise ValueError("`ImageWindows` with centered=True needs the images. Received: images=None.")
        padded = tf.cast(tf.shape(images)[1:3], tf.float32)
        padded_windows = box_ops.image_windows(tf.zeros_like(image_sizes) + padded, padded, centered=False)
        inside = box_ops.image_windows(image_sizes, padded, centered=True)
        return {"proposals": padded_windows - last, "detections": inside - last}

    def compute_output_spec(
        self, image_sizes: Tensor, images: Tensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        shape = (image_sizes.shape[0], 4)
        return {name: keras.KerasTensor(shape) for name in ("proposals", "detections")}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "centered": self.centered, "inclusive": self.inclusive}
