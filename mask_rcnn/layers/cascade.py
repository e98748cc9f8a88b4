"""Layers between the box heads of a cascade (Cascade R-CNN: Cai and Vasconcelos 2018)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn import targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.layers.roi import roi_targets_spec
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RefineBoxes(Float32Layer):
    """Applies the deltas of a box head to its RoIs. The results are the RoIs of the next box head.

    The boxes have no gradient.

    Args:
        delta_weights: Four factors that the head's target deltas (dy, dx, dh, dw) are multiplied by. The
            predicted deltas are divided by them.
        clamp_deltas: Whether to limit dh and dw, see `ops.boxes.decode_deltas`. Defaults to True.

    Call arguments:
        deltas: `[B * N, 4]`.
        rois: Dict of `boxes` `[B, N, 4]`, yxyx, and `valid` `[B, N]` bool.
        windows: `[B, 4]`, yxyx: the region that boxes are clipped to.

    Returns:
        Dict of
        `boxes`: `[B, N, 4]`, yxyx.
        `valid`: `[B, N]` bool. A box that became empty is not valid.
    """

    def __init__(self, delta_weights: Sequence[float], clamp_deltas: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delta_weights = tuple(delta_weights)
        self.clamp_deltas = clamp_deltas

    def call(self, deltas: Tensor, rois: Mapping[str, Tensor], windows: Tensor) -> dict[str, Tensor]:
        deltas = tf.reshape(deltas, [-1, rois["boxes"].shape[1], 4])  # [B, N, 4]
        boxes = box_ops.decode_deltas(deltas, rois["boxes"], self.delta_weights, clamp=self.clamp_deltas)
        boxes = tf.stop_gradient(box_ops.clip(boxes, windows))
        return {"boxes": boxes, "valid": rois["valid"] & (box_ops.area(boxes) > 0)}

    def compute_output_spec(
        self, deltas: Tensor, rois: Mapping[str, Tensor], windows: Tensor
    ) -> dict[str, keras.KerasTensor]:
        return {
            "boxes": keras.KerasTensor(rois["boxes"].shape),
            "valid": keras.KerasTensor(rois["valid"].shape, dtype="bool"),
        }

    def get_config(self) -> dict[str, Any]:
        arguments = {"delta_weights": self.delta_weights, "clamp_deltas": self.clamp_deltas}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class CascadeTargets(Float32Layer):
    """Computes the training targets of a box head after the first one, see `targets.refined_targets`.

    Args:
        positive_iou: A RoI is positive from this IoU on, and negative below.
        delta_weights: Four factors for the target deltas (dy, dx, dh, dw).

    Call arguments:
        rois: Dict of `RefineBoxes`.
        batch: Dict with `gt_boxes` and `gt_class_ids`.

    Returns:
        The dict of `targets.roi_targets`.
    """

    def __init__(self, positive_iou: float, delta_weights: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positive_iou = positive_iou
        self.delta_weights = tuple(delta_weights)

    def call(self, rois: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return targets.refined_targets(
            rois["boxes"],
            rois["valid"],
            batch,
            positive_iou=self.positive_iou,
            delta_weights=self.delta_weights,
        )

    def compute_output_spec(
        self, rois: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> dict[str, keras.KerasTensor]:
        return roi_targets_spec(rois["boxes"].shape[:2])

    def get_config(self) -> dict[str, Any]:
        arguments = {"positive_iou": self.positive_iou, "delta_weights": self.delta_weights}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ScaleGradient(keras.layers.Layer):
    """Returns its input unchanged, and multiplies the gradient by a constant.

    Each head of a cascade trains on its own loss with the full gradient. The layers that they share get the
    mean of the heads' gradients instead of the sum.

    Args:
        scale: Float that the gradient is multiplied by.

    Call arguments:
        x: Tensor of any shape.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x: Tensor) -> Tensor:
        @tf.custom_gradient
        def identity(x):
            return tf.identity(x), lambda upstream: upstream * self.scale

        return identity(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MeanScores(Float32Layer):
    """Averages the class probabilities of several box heads and returns the logarithm.

    The logarithm of the mean probabilities can be used as logits: its softmax is the mean again.

    Call arguments:
        class_logits: List of `[B * N, K + 1]`, one per head.

    Output shape:
        `[B * N, K + 1]`.
    """

    def call(self, class_logits: Sequence[Tensor]) -> Tensor:
        logarithms = tf.stack([tf.nn.log_softmax(logits) for logits in class_logits])  # [heads, B N, K + 1]
        return tf.reduce_logsumexp(logarithms, axis=0) - tf.math.log(float(len(class_logits)))

    def compute_output_spec(self, class_logits: Sequence[Tensor]) -> keras.KerasTensor:
        return keras.KerasTensor(class_logits[0].shape)
