"""Layers of the mask branch."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops.empty_batch import with_empty_batch
from mask_rcnn.ops.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskDeconv(keras.layers.Layer):
    """2x2 transposed convolution of stride 2 with ReLU (figure 4), with a separate axis for its four pixels.

    The outputs do not overlap, so one matrix turns each input pixel into four output pixels. The predictor
    moves them to their positions (depth to space) after it has reduced the C channels to one. That moves C
    times less memory.

    Args:
        filters: Number of output channels, C.

    Output shape:
        `[R, P, P, 4, C]` for an input `[R, P, P, C']`. Order of the four pixels: top left, top right, bottom
        left, bottom right.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Shape) -> None:
        # Same layout as in keras.layers.Conv2DTranspose.
        self.kernel = self.add_weight(
            name="kernel", shape=(2, 2, self.filters, input_shape[-1]), initializer="he_normal"
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Tensor) -> Tensor:
        return with_empty_batch(self._deconvolve, x)

    def _deconvolve(self, x):
        channels = x.shape[-1]
        kernel = tf.transpose(tf.reshape(self.kernel, [1, 4 * self.filters, channels, 1]), [0, 3, 2, 1])
        y = tf.nn.conv2d(x, kernel, 1, "VALID")  # [R, P, P, 4 C]
        y = tf.nn.relu(tf.nn.bias_add(y, tf.tile(self.bias, [4])))
        return tf.reshape(y, [-1, *x.shape[1:3], 4, self.filters])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:3], 4, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


class MaskKernel(keras.layers.Layer):
    """Base class with the weights of the last 1x1 convolution of the mask branch.

    Args:
        num_outputs: Number of classes including background, K + 1; or 1 for class-agnostic masks (section
            4.2).
    """

    def __init__(self, num_outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def build(self, features_shape: Shape) -> None:
        initializer = keras.initializers.RandomNormal(stddev=0.001)
        self.kernel = self.add_weight(
            name="kernel", shape=(features_shape[-1], self.num_outputs), initializer=initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.num_outputs,), initializer="zeros")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_outputs": self.num_outputs}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskPredictor(MaskKernel):
    """Last 1x1 convolution of the mask branch, computed only for one class of each RoI.

    Section 3: masks are class-specific and do not compete. Of K masks, only that of the RoI's class is used.

    Args:
        num_outputs: Number of classes including background, K + 1; or 1 for class-agnostic masks (section
            4.2).

    Call arguments:
        features: `[R, P, P, 4, C]` of `MaskDeconv`.
        class_ids: `[R]` int32.

    Output shape:
        `[R, 2 P, 2 P]`, logits.
    """

    def build(self, features_shape: Shape, class_ids_shape: Shape | None = None) -> None:
        super().build(features_shape)

    def call(self, features: Tensor, class_ids: Tensor) -> Tensor:
        if self.num_outputs == 1:
            class_ids = tf.zeros_like(class_ids)
        # A one-hot product instead of a gather, so that the gradient of the kernel stays dense.
        chosen = tf.one_hot(class_ids, self.num_outputs, dtype=self.compute_dtype)  # [R, K + 1]
        kernel = tf.matmul(chosen, self.kernel, transpose_b=True)  # [R, C]
        bias = tf.linalg.matvec(chosen, self.bias)  # [R]
        side, channels = features.shape[1], features.shape[-1]
        flat = tf.reshape(features, [-1, side * side * 4, channels])
        logits = tf.reshape(tf.linalg.matvec(flat, kernel), [-1, side, side, 4]) + bias[:, None, None, None]
        return tf.nn.depth_to_space(logits, 2)[..., 0]

    def compute_output_shape(self, features_shape: Shape, class_ids_shape: Shape | None = None) -> Shape:
        rois, height, width = features_shape[:3]
        return (rois, height and 2 * height, width and 2 * width)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class PositiveRois(Float32Layer):
    """Returns the first RoIs of each image. `RoiTargets` puts the positives first.

    Args:
        count: Number of RoIs to return per image, P.

    Call arguments:
        sampled: Dict of `RoiTargets`, `[B, S, ...]`.

    Returns:
        Dict with the same keys, `[B, P, ...]`.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def call(self, sampled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value[:, : self.count] for name, value in sampled.items()}

    def compute_output_spec(self, sampled: Mapping[str, Tensor]) -> dict[str, keras.KerasTensor]:
        return {
            name: keras.KerasTensor((value.shape[0], self.count, *value.shape[2:]), dtype=value.dtype)
            for name, value in sampled.items()
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class FlattenRois(Float32Layer):
    """Merges the axes of images and RoIs, as the heads expect: `[B, N, ...]` to `[B * N, ...]`."""

    def call(self, x: Tensor) -> Tensor:
        return tf.reshape(x, [-1, *x.shape[2:]])

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((None, *x.shape[2:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskLoss(Float32Layer):
    """Computes the mask loss of the positive RoIs (section 3, L_mask).

    Call arguments:
        logits: `[B * P, M, M]`.
        positives: Dict of `PositiveRois`.
        batch: Dict with `gt_boxes` and `gt_masks`.

    Returns:
        `[B, 2]`: sum and count, see `losses.mask_loss`.
    """

    def call(self, logits: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        size = logits.shape[-1]
        rois = positives["rois"]
        expected = targets.mask_targets(rois, positives["matched"], batch, size=size)  # [B, P, M, M]
        logits = tf.reshape(logits, [-1, rois.shape[1], size, size])
        return losses.mask_loss(logits, expected, positives["positive"])

    def compute_output_spec(
        self, logits: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> keras.KerasTensor:
        return keras.KerasTensor((positives["rois"].shape[0], 2))


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskProbabilities(Float32Layer):
    """Reshapes mask logits from `[B * D, M, M]` to `[B, D, M, M]` and applies the sigmoid.

    Call arguments:
        logits: `[B * D, M, M]`.
        boxes: `[B, D, 4]`, the detections.

    Output shape:
        `[B, D, M, M]`, probabilities in 0..1.
    """

    def call(self, logits: Tensor, boxes: Tensor) -> Tensor:
        return tf.reshape(tf.sigmoid(logits), [-1, boxes.shape[1], *logits.shape[1:]])

    def compute_output_spec(self, logits: Tensor, boxes: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((*boxes.shape[:2], *logits.shape[1:]))
