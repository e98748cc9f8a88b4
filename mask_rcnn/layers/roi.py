"""Layers of the second stage: detections, targets and losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.detection_ops import DetectionOps, current_detection_ops
from mask_rcnn.ops.tensor import Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class DetectionLayer(Float32Layer):
    """Computes the final boxes, classes and scores from the box head's outputs (Faster R-CNN, section 3.2).

    Args:
        delta_weights: Four factors that the target deltas (dy, dx, dh, dw) are multiplied by in training.
            The predicted deltas are divided by them.
        score_threshold: Only boxes with a higher score are returned, 0..1.
        nms_iou: A box is dropped if its IoU with a higher-scored kept box of its class is larger.
        max_detections: Number of boxes per image, D.
        min_size: Minimum side of a box, pixels, see `ops.boxes.large`. Defaults to 0.
        clamp_deltas: Whether to limit dh and dw, see `ops.boxes.decode_deltas`. Defaults to True.
        best_class_only: Whether a RoI yields at most one detection: its best class, or none if that is
            background. Defaults to False.
        ops: `DetectionOps` with the NMS. Defaults to `current_detection_ops`. It depends on the runtime and
            is therefore not part of the saved config.

    Call arguments:
        class_logits: `[B * N, K + 1]`, background first.
        deltas: `[B * N, (K + 1) * 4]`, or `[B * N, 4]` for class-agnostic boxes.
        proposals: Dict of `boxes` `[B, N, 4]`, yxyx, and `valid` `[B, N]` bool.
        windows: `[B, 4]`, yxyx: the region that detections are clipped to.

    Returns:
        Dict of
        `boxes`: `[B, D, 4]`, yxyx; zeros in padding rows.
        `scores`: `[B, D]` in 0..1, in descending order; 0 in padding rows.
        `class_ids`: `[B, D]` int32, 1..K; 0 in padding rows.
    """

    def __init__(
        self,
        delta_weights: Sequence[float],
        *,
        score_threshold: float,
        nms_iou: float,
        max_detections: int,
        min_size: float = 0.0,
        clamp_deltas: bool = True,
        best_class_only: bool = False,
        ops: DetectionOps | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.delta_weights = tuple(delta_weights)
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_detections = max_detections
        self.min_size = min_size
        self.clamp_deltas = clamp_deltas
        self.best_class_only = best_class_only
        self.ops = ops or current_detection_ops()

    def call(
        self, class_logits: Tensor, deltas: Tensor, proposals: Mapping[str, Tensor], windows: Tensor
    ) -> dict[str, Tensor]:
        num_rois, num_outputs = proposals["boxes"].shape[1], class_logits.shape[-1]
        scores = tf.reshape(tf.nn.softmax(class_logits), [-1, num_rois, num_outputs])  # [B, N, K + 1]
        if self.best_class_only:
            scores = tf.where(scores == tf.reduce_max(scores, axis=-1, keepdims=True), scores, 0.0)
        scores = scores[:, :, 1:]  # [B, N, K]
        deltas = tf.reshape(deltas, [-1, num_rois, deltas.shape[-1] // 4, 4])
        deltas = deltas[:, :, 1:] if deltas.shape[2] > 1 else deltas  # [B, N, K or 1, 4]
        boxes = box_ops.decode_deltas(
            deltas, proposals["boxes"][:, :, None], self.delta_weights, clamp=self.clamp_deltas
        )
        boxes = box_ops.clip(boxes, windows)
        usable = box_ops.is_large(boxes, self.min_size) & proposals["valid"][..., None]
        boxes, scores, classes, valid = self.ops.nms_per_class(
            boxes,
            tf.where(usable, scores, 0.0),
            iou_threshold=self.nms_iou,
            score_threshold=self.score_threshold,
            max_output=self.max_detections,
        )
        return {"boxes": boxes, "scores": scores, "class_ids": tf.where(valid, classes + 1, 0)}

    def compute_output_spec(
        self, class_logits: Tensor, deltas: Tensor, proposals: Mapping[str, Tensor], windows: Tensor
    ) -> dict[str, keras.KerasTensor]:
        shape = (windows.shape[0], self.max_detections)
        return {
            "boxes": keras.KerasTensor((*shape, 4)),
            "scores": keras.KerasTensor(shape),
            "class_ids": keras.KerasTensor(shape, dtype="int32"),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "delta_weights": self.delta_weights,
            "score_threshold": self.score_threshold,
            "nms_iou": self.nms_iou,
            "max_detections": self.max_detections,
            "min_size": self.min_size,
            "clamp_deltas": self.clamp_deltas,
            "best_class_only": self.best_class_only,
        }


def roi_targets_spec(shape: tuple[int | None, ...]) -> dict[str, keras.KerasTensor]:
    """Returns the dict of `targets.roi_targets` as symbolic tensors, for RoIs of the given `shape` (B, S)."""
    return {
        "rois": keras.KerasTensor((*shape, 4)),
        "class_ids": keras.KerasTensor(shape, dtype="int32"),
        "deltas": keras.KerasTensor((*shape, 4)),
        "matched": keras.KerasTensor(shape, dtype="int32"),
        "positive": keras.KerasTensor(shape, dtype="bool"),
        "valid": keras.KerasTensor(shape, dtype="bool"),
    }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RoiTargets(Float32Layer):
    """Samples RoIs from proposals and ground truth and computes their targets, see `targets.roi_targets`.

    Args:
        samples: RoIs per image, S.
        positive_fraction: Maximum fraction of positives, 0..1.
        positive_iou: A RoI is positive from this IoU on, and negative below.
        delta_weights: Four factors for the target deltas (dy, dx, dh, dw).

    Call arguments:
        proposals: Dict of `boxes` `[B, N, 4]`, yxyx, and `valid` `[B, N]` bool.
        batch: Dict with `gt_boxes`, `gt_class_ids` and `seeds`.

    Returns:
        The dict of `targets.roi_targets`, with S RoIs per image.
    """

    def __init__(
        self,
        *,
        samples: int,
        positive_fraction: float,
        positive_iou: float,
        delta_weights: Sequence[float],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_arguments = {
            "samples": samples,
            "positive_fraction": positive_fraction,
            "positive_iou": positive_iou,
            "delta_weights": tuple(delta_weights),
        }

    def call(self, proposals: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return targets.roi_targets(proposals["boxes"], proposals["valid"], batch, **self.target_arguments)

    def compute_output_spec(
        self, proposals: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> dict[str, keras.KerasTensor]:
        return roi_targets_spec((batch["gt_boxes"].shape[0], self.target_arguments["samples"]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.target_arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class BoxHeadLosses(Float32Layer):
    """Computes the classification and box losses of a box head (Fast R-CNN, equation 1).

    Args:
        beta: Transition point of the smooth-L1 loss, see `losses.smooth_l1`.
        box_loss: "smooth_l1" or "giou". Defaults to "smooth_l1".
        delta_weights: Four factors that the target deltas were multiplied by. Only "giou" uses them, to
            decode boxes. Defaults to ones.

    Call arguments:
        class_logits: `[B * S, K + 1]`.
        deltas: `[B * S, (K + 1) * 4]`, of which those of the true class are used; or `[B * S, 4]` for
            class-agnostic boxes.
        sampled: Dict of `RoiTargets`.

    Returns:
        Dict of
        `class_loss`: `[B, 2]`, sum and count, see `losses`.
        `box_loss`: `[B, 2]`, sum and count.
    """

    def __init__(
        self,
        beta: float,
        box_loss: str = "smooth_l1",
        delta_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.beta = beta
        self.box_loss = box_loss
        self.delta_weights = tuple(delta_weights)

    def call(self, class_logits: Tensor, deltas: Tensor, sampled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        class_ids = sampled["class_ids"]  # [B, S]
        num_rois, num_outputs = class_ids.shape[1], class_logits.shape[-1]
        class_logits = tf.reshape(class_logits, [-1, num_rois, num_outputs])
        deltas = tf.reshape(deltas, [-1, num_rois, deltas.shape[-1] // 4, 4])
        chosen = class_ids if deltas.shape[2] > 1 else tf.zeros_like(class_ids)
        deltas = tf.gather(deltas, chosen, batch_dims=2)  # [B, S, 4]
        expected = sampled["deltas"]
        samples = {"positive": sampled["positive"], "valid": sampled["valid"]}
        if self.box_loss == "giou":
            box_loss = losses.giou_loss(
                deltas, expected, sampled["rois"], **samples, weights=self.delta_weights
            )
        else:
            box_loss = losses.box_loss(deltas, expected, **samples, beta=self.beta)
        class_loss = losses.class_loss(class_logits, class_ids, sampled["valid"])
        return {"class_loss": class_loss, "box_loss": box_loss}

    def compute_output_spec(
        self, class_logits: Tensor, deltas: Tensor, sampled: Mapping[str, Tensor]
    ) -> dict[str, keras.KerasTensor]:
        names = ("class_loss", "box_loss")
        return {name: keras.KerasTensor((sampled["rois"].shape[0], 2)) for name in names}

    def get_config(self) -> dict[str, Any]:
        arguments = {"beta": self.beta, "box_loss": self.box_loss, "delta_weights": self.delta_weights}
        return {**super().get_config(), **arguments}
