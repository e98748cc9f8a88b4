"""The pooling behind a ResNet's first convolution."""

import keras
import tensorflow as tf

from mask_rcnn.ops.kernels import current_kernels


@keras.saving.register_keras_serializable(package="mask_rcnn")
class StemPool(keras.layers.Layer):
    """Maximum of 3x3 pixels, every second one (He et al. 2016, table 1), of features behind a ReLU.

    Args:
        padding: "symmetric" pads one pixel on each side, as PyTorch models do; "same" is TensorFlow's, which
            pads at the bottom and right only.
        kernels: what computes it, as in `ConvNorm`. "cpu" pads inside the pooling, which
            saves a copy of the largest map; other runtimes cannot.

    Output shape:
        `[B, ceil(H / 2), ceil(W / 2), C]`.
    """

    def __init__(self, padding="symmetric", kernels=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding
        self.kernels = kernels or current_kernels()

    def call(self, x):
        if self.padding == "same":
            return tf.nn.max_pool2d(x, 3, 2, "SAME")
        border = [[0, 0], [1, 1], [1, 1], [0, 0]]
        if self.kernels == "cpu":
            return tf.nn.max_pool2d(x, 3, 2, border)
        return tf.nn.max_pool2d(tf.pad(x, border), 3, 2, "VALID")  # 0 is the smallest value behind a ReLU

    def compute_output_shape(self, input_shape):
        sides = [side and (side + 1) // 2 for side in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}
