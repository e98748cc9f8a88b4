"""What happens to the pixels before the backbone."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mask_rcnn")
class NormalizeImages(keras.layers.Layer):
    """Subtracts the mean colour and divides by the deviation; the padding becomes 0, the mean colour.

    Args:
        mean: of red, green and blue, 0..255.
        std: likewise.

    Call arguments:
        images: `[B, H, W, 3]`, RGB 0..255.
        image_sizes: `[B, 2]`, (height, width) before padding.

    Output shape:
        `[B, H, W, 3]`.
    """

    def __init__(self, mean, std, **kwargs):
        super().__init__(**{**kwargs, "autocast": False})
        self.mean = tuple(mean)
        self.std = tuple(std)

    def call(self, images, image_sizes):
        dtype = self.variable_dtype  # float32 until the last moment: bfloat16 can't tell 200 from 201
        pixels = (tf.cast(images, dtype) - tf.constant(self.mean, dtype)) / tf.constant(self.std, dtype)
        rows = tf.cast(tf.range(tf.shape(images)[1]), tf.float32) < image_sizes[:, :1]  # [B, H]
        columns = tf.cast(tf.range(tf.shape(images)[2]), tf.float32) < image_sizes[:, 1:]  # [B, W]
        inside = rows[:, :, None, None] & columns[:, None, :, None]
        return tf.cast(tf.where(inside, pixels, tf.zeros([], dtype)), self.compute_dtype)

    def compute_output_shape(self, images_shape, image_sizes_shape=None):
        return images_shape

    def get_config(self):
        config = super().get_config()
        return {**config, "mean": self.mean, "std": self.std}
