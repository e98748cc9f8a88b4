"""The second stage: detections, targets and losses."""

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops import nms


@keras.saving.register_keras_serializable(package="mask_rcnn")
class DetectionLayer(Float32Layer):
    """Turns the box head's output into the final boxes, classes and scores (Faster R-CNN, section 3.2).

    Args:
        delta_weights: four numbers that (dy, dx, dh, dw) were multiplied by in training.
        score_threshold: only higher scores count.
        nms_iou: a box that overlaps a better one of its class by more is dropped.
        max_detections: boxes of an image, D.
        min_size: boxes with a shorter side are dropped, see `ops.boxes.large`.
        clamp_deltas: see `ops.boxes.decode_deltas`.
        best_class_only: a RoI is at most of one class, its best; of none where that is the background.

    Call arguments:
        class_logits: `[B * N, K + 1]`, background first.
        deltas: `[B * N, (K + 1) * 4]`; `[B * N, 4]` for all classes alike.
        proposals: dict of `boxes` `[B, N, 4]` and `valid` `[B, N]`.
        windows: `[B, 4]`, yxyx, where detections may lie.

    Returns:
        Dict of `boxes` `[B, D, 4]`, yxyx, `scores` `[B, D]`, falling, and `class_ids` `[B, D]` int32: 0
        and zeros everywhere behind the last detection.
    """

    def __init__(
        self,
        delta_weights,
        score_threshold,
        nms_iou,
        max_detections,
        min_size=0.0,
        clamp_deltas=True,
        best_class_only=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.delta_weights = tuple(delta_weights)
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_detections = max_detections
        self.min_size = min_size
        self.clamp_deltas = clamp_deltas
        self.best_class_only = best_class_only
        self.suppress = nms.nms_per_class  # exports replace it, as they replace `RoiAlign.align`

    def call(self, class_logits, deltas, proposals, windows):
        num_rois, num_outputs = proposals["boxes"].shape[1], class_logits.shape[-1]
        scores = tf.reshape(tf.nn.softmax(class_logits), [-1, num_rois, num_outputs])  # [B, N, K + 1]
        if self.best_class_only:
            scores = tf.where(scores == tf.reduce_max(scores, axis=-1, keepdims=True), scores, 0.0)
        scores = scores[..., 1:]  # [B, N, K]
        deltas = tf.reshape(deltas, [-1, num_rois, deltas.shape[-1] // 4, 4])
        deltas = deltas[:, :, 1:] if deltas.shape[2] > 1 else deltas  # [B, N, K or 1, 4]
        boxes = box_ops.decode_deltas(
            deltas, proposals["boxes"][:, :, None], self.delta_weights, self.clamp_deltas
        )
        boxes = box_ops.clip(boxes, windows)
        usable = box_ops.large(boxes, self.min_size) & proposals["valid"][..., None]
        boxes, scores, classes, valid = self.suppress(
            boxes, tf.where(usable, scores, 0.0), self.nms_iou, self.score_threshold, self.max_detections
        )
        return {"boxes": boxes, "scores": scores, "class_ids": tf.where(valid, classes + 1, 0)}

    def compute_output_spec(self, class_logits, deltas, proposals, windows):
        shape = (windows.shape[0], self.max_detections)
        return {
            "boxes": keras.KerasTensor((*shape, 4)),
            "scores": keras.KerasTensor(shape),
            "class_ids": keras.KerasTensor(shape, dtype="int32"),
        }

    def get_config(self):
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


def roi_targets_spec(shape):
    """Returns the dict of `targets.roi_targets` as symbolic tensors of RoIs `[B, S]`."""
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
    """Samples RoIs from the proposals and the objects: see `targets.roi_targets`.

    Args:
        samples, positive_fraction, positive_iou, delta_weights: as there.

    Call arguments:
        proposals: dict of `boxes` `[B, N, 4]` and `valid` `[B, N]`.
        batch: dict of `gt_boxes`, `gt_class_ids` and `seeds`.

    Returns:
        The dict of `targets.roi_targets`, S RoIs an image.
    """

    def __init__(self, samples, positive_fraction, positive_iou, delta_weights, **kwargs):
        super().__init__(**kwargs)
        self.target_arguments = {
            "samples": samples,
            "positive_fraction": positive_fraction,
            "positive_iou": positive_iou,
            "delta_weights": tuple(delta_weights),
        }

    def call(self, proposals, batch):
        return targets.roi_targets(proposals["boxes"], proposals["valid"], batch, **self.target_arguments)

    def compute_output_spec(self, proposals, batch):
        return roi_targets_spec((batch["gt_boxes"].shape[0], self.target_arguments["samples"]))

    def get_config(self):
        return {**super().get_config(), **self.target_arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class BoxHeadLosses(Float32Layer):
    """Compares the box head with the targets of its RoIs (Fast R-CNN, equation 1).

    Args:
        beta: corner of the smooth-L1.
        box_loss: "smooth_l1" or "giou".
        delta_weights: four numbers that the deltas are multiplied by; only the GIoU needs them.

    Call arguments:
        class_logits: `[B * S, K + 1]`.
        deltas: `[B * S, (K + 1) * 4]`, of which those of the true class count; `[B * S, 4]` for all alike.
        sampled: dict of `RoiTargets`.

    Returns:
        Dict of `class_loss` and `box_loss`, `[B, 2]` each: sum and count, see `losses`.
    """

    def __init__(self, beta, box_loss="smooth_l1", delta_weights=(1.0, 1.0, 1.0, 1.0), **kwargs):
        super().__init__(**kwargs)
        self.beta = beta
        self.box_loss = box_loss
        self.delta_weights = tuple(delta_weights)

    def call(self, class_logits, deltas, sampled):
        class_ids = sampled["class_ids"]  # [B, S]
        num_rois, num_outputs = class_ids.shape[1], class_logits.shape[-1]
        class_logits = tf.reshape(class_logits, [-1, num_rois, num_outputs])
        deltas = tf.reshape(deltas, [-1, num_rois, deltas.shape[-1] // 4, 4])
        chosen = class_ids if deltas.shape[2] > 1 else tf.zeros_like(class_ids)
        deltas = tf.gather(deltas, chosen, batch_dims=2)  # [B, S, 4]
        expected, counts = sampled["deltas"], (sampled["positive"], sampled["valid"])
        if self.box_loss == "giou":
            box_loss = losses.giou_loss(deltas, expected, sampled["rois"], *counts, self.delta_weights)
        else:
            box_loss = losses.box_loss(deltas, expected, *counts, self.beta)
        return {"class_loss": losses.class_loss(class_logits, class_ids, counts[1]), "box_loss": box_loss}

    def compute_output_spec(self, class_logits, deltas, sampled):
        names = ("class_loss", "box_loss")
        return {name: keras.KerasTensor((sampled["rois"].shape[0], 2)) for name in names}

    def get_config(self):
        arguments = {"beta": self.beta, "box_loss": self.box_loss, "delta_weights": self.delta_weights}
        return {**super().get_config(), **arguments}
