"""Mask branches of the paper's ablations: softmax over the classes, and fully connected layers."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.layers.masks import MaskKernel
from mask_rcnn.ops.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class AllClassMaskPredictor(MaskKernel):
    """Last 1x1 convolution of the mask branch, computed for all classes of each RoI.

    Args:
        num_outputs: Number of classes including background, K + 1.

    Call arguments:
        features: `[R, P, P, 4, C]` of `MaskDeconv`.

    Output shape:
        `[R, 2P, 2P, K + 1]`, logits.
    """

    def call(self, features: Tensor) -> Tensor:
        side, outputs = features.shape[1], self.num_outputs
        logits = tf.tensordot(features, self.kernel, 1) + self.bias  # [R, P, P, 4, K + 1]
        return tf.nn.depth_to_space(tf.reshape(logits, [-1, side, side, 4 * outputs]), 2)

    def compute_output_shape(self, features_shape: Shape) -> Shape:
        rois, height, width = features_shape[:3]
        return (rois, height and 2 * height, width and 2 * width, self.num_outputs)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class SelectClassMask(Float32Layer):
    """Selects the mask of the class of each RoI.

    Call arguments:
        logits: `[R, M, M, K + 1]`, or `[R, M, M, 1]` for class-agnostic masks.
        class_ids: `[R]` int32.

    Output shape:
        `[R, M, M]`, logits.
    """

    def call(self, logits: Tensor, class_ids: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return logits[..., 0]
        chosen = tf.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)  # [R, K + 1]
        return tf.linalg.matvec(logits, chosen[:, None])

    def compute_output_spec(self, logits: Tensor, class_ids: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(logits.shape[:-1])


@keras.saving.register_keras_serializable(package="mask_rcnn")
class SoftmaxMasks(Float32Layer):
    """Returns the per-pixel softmax over the classes, as log-odds of two classes (Mask R-CNN, table 2b).

    The sigmoid of the log-odds of a class is the softmax probability of that class. Masks can therefore be
    computed from them as from the independent logits of `MaskPredictor`.

    Call arguments:
        logits: `[R, M, M, K + 1]`, background first.
        class_ids: `[R]` int32.

    Output shape:
        `[R, M, M, 2]`: log-odds of the class of the RoI, and of the background.
    """

    def call(self, logits: Tensor, class_ids: Tensor) -> Tensor:
        outputs = logits.shape[-1]
        both = tf.stack([class_ids, tf.zeros_like(class_ids)], axis=-1)  # [R, 2]
        chosen = tf.one_hot(both, outputs, dtype=tf.bool, on_value=True, off_value=False)[:, None, None]
        all_logits = logits[..., None, :]  # [R, M, M, 1, K + 1]
        class_logits = tf.reduce_sum(tf.where(chosen, all_logits, 0.0), axis=-1)  # [R, M, M, 2]
        other_logits = tf.reduce_logsumexp(tf.where(chosen, -1e9, all_logits), axis=-1)
        return class_logits - other_logits

    def compute_output_spec(self, logits: Tensor, class_ids: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((*logits.shape[:-1], 2))


@keras.saving.register_keras_serializable(package="mask_rcnn")
class SoftmaxMaskLoss(Float32Layer):
    """Computes the mask loss of the positive RoIs for masks with a softmax over the classes.

    Call arguments:
        logits: `[B * P, M, M, 2]` of `SoftmaxMasks`.
        positives: Dict of `PositiveRois`.
        batch: Dict with `gt_boxes` and `gt_masks`.

    Returns:
        `[B, 2]`: sum and count, see `losses.competing_mask_loss`.
    """

    def call(self, logits: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        size = logits.shape[1]
        rois = positives["rois"]
        expected = targets.mask_targets(rois, positives["matched"], batch, size=size)  # [B, P, M, M]
        logits = tf.reshape(logits, [-1, rois.shape[1], size, size, 2])
        return losses.competing_mask_loss(logits, expected, positives["positive"])

    def compute_output_spec(
        self, logits: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> keras.KerasTensor:
        return keras.KerasTensor((positives["rois"].shape[0], 2))


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ClassLogOdds(Float32Layer):
    """Selects the log-odds of the class of each RoI: `[R, M, M, 2]` of `SoftmaxMasks` to `[R, M, M]`."""

    def call(self, logits: Tensor) -> Tensor:
        return logits[..., 0]

    def compute_output_spec(self, logits: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(logits.shape[:-1])
