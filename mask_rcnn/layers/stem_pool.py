"""Max pooling after the first convolution of a ResNet."""

from typing import Any

import keras
import tensorflow as tf

from mask_rcnn.ops.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class StemPool(keras.layers.Layer):
    """3x3 max pooling with stride 2 (He et al. 2016, table 1), for features after a ReLU.

    Args:
        padding: "symmetric" pads one pixel on each side, as PyTorch models do. "same" is TensorFlow's
            padding: for even sides, only at the bottom and right. Defaults to "symmetric".

    Output shape:
        `[B, ceil(H / 2), ceil(W / 2), C]`.
    """

    def __init__(self, padding: str = "symmetric", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, x: Tensor) -> Tensor:
        if self.padding == "same":
            return tf.nn.max_pool2d(x, 3, 2, "SAME")
        # Pads with `tf.pad`: with a list of paddings in max_pool2d, the gradient takes 5 to 12 times as long
        # (TensorFlow 2.21, CPU). Padding with 0 is correct, because 0 is the smallest value after a ReLU.
        return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sides = [side and (side + 1) // 2 for side in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}
