"""Layers of the keypoint branch."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops.empty_batch import with_empty_batch
from mask_rcnn.ops.tensor import Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class KeypointDeconv(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` that also supports an empty batch, with correct gradients."""

    def call(self, inputs: Tensor) -> Tensor:
        return with_empty_batch(super().call, inputs)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class KeypointLoss(Float32Layer):
    """Computes the keypoint loss of the positive RoIs (section 5).

    Args:
        weight: Float that the loss is multiplied by. Defaults to 1.

    Call arguments:
        heatmaps: `[B * P, S, S, J]`, logits.
        positives: Dict of `PositiveRois`.
        batch: Dict with `gt_keypoints`.

    Returns:
        `[B, 2]`: weighted sum and count, see `losses.keypoint_loss`.
    """

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, heatmaps: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        rois = positives["rois"]
        size, num_keypoints = heatmaps.shape[-2:]
        cells, counts = targets.keypoint_targets(
            rois, positives["matched"], batch, size=size
        )  # [B, P, J] each
        heatmaps = tf.reshape(heatmaps, [-1, rois.shape[1], size * size, num_keypoints])
        counts = counts & positives["positive"][..., None]
        return losses.keypoint_loss(heatmaps, cells, counts) * [self.weight, 1.0]

    def compute_output_spec(
        self, heatmaps: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> keras.KerasTensor:
        return keras.KerasTensor((positives["rois"].shape[0], 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class KeypointHeatmaps(Float32Layer):
    """Reshapes keypoint heatmaps from `[B * D, S, S, J]` to `[B, D, S, S, J]`.

    Call arguments:
        heatmaps: `[B * D, S, S, J]`, logits.
        boxes: `[B, D, 4]`, the detections.

    Output shape:
        `[B, D, S, S, J]`, logits.
    """

    def call(self, heatmaps: Tensor, boxes: Tensor) -> Tensor:
        return tf.reshape(heatmaps, [-1, boxes.shape[1], *heatmaps.shape[1:]])

    def compute_output_spec(self, heatmaps: Tensor, boxes: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((*boxes.shape[:2], *heatmaps.shape[1:]))
