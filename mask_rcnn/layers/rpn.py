"""Layers of the region proposal network (RPN): anchors, proposals and losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.anchors import base_anchors
from mask_rcnn.ops.detection_ops import DetectionOps, current_detection_ops
from mask_rcnn.ops.nms import DROPPED
from mask_rcnn.ops.tensor import Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class Anchors(Float32Layer):
    """Returns the anchor boxes of each pyramid level.

    Args:
        sizes: Square roots of the anchor areas, pixels: one per level. With a single level, all of them are
            used on it.
        strides: Distance between cells of each level, image pixels.
        ratios: Sequence of height / width.
        rounded: Whether to round the corners of the base anchors to whole pixels, as torchvision does.
            Defaults to False.
        stride_from_padded_size: Whether to use padded image side // map side as stride, as torchvision does.
            For the 13 rows of P6 of an 800 pixel image this is 61 instead of 64. Defaults to False.
        ops: `DetectionOps` with `grid_anchors`. Defaults to `current_detection_ops`. It depends on the
            runtime and is therefore not part of the saved config.

    Call arguments:
        pyramid: List of maps `[B, H, W, C]`.
        images: `[B, H, W, 3]`, padded.

    Returns:
        List of `[H * W * A, 4]`, yxyx, image pixels, one per level. Order within a cell: all ratios of the
        first size, then those of the second size, and so on.
    """

    def __init__(
        self,
        sizes: Sequence[float],
        strides: Sequence[int],
        ratios: Sequence[float],
        *,
        rounded: bool = False,
        stride_from_padded_size: bool = False,
        ops: DetectionOps | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.strides = tuple(strides)
        self.ratios = tuple(ratios)
        self.rounded = rounded
        self.stride_from_padded_size = stride_from_padded_size
        self.ops = ops or current_detection_ops()

    def call(self, pyramid: Sequence[Tensor], images: Tensor) -> list[Tensor]:
        anchors = []
        sizes = [self.sizes] if len(self.strides) == 1 else [(size,) for size in self.sizes]
        for features, level_sizes, stride in zip(pyramid, sizes, self.strides, strict=True):
            map_size = tf.shape(features)[1:3]
            steps = (stride, stride)
            if self.stride_from_padded_size:
                steps = tf.shape(images)[1:3] // map_size
            base = base_anchors(level_sizes, self.ratios, self.rounded)
            anchors.append(self.ops.grid_anchors(map_size, steps, base))
        return anchors

    def compute_output_spec(self, pyramid: Sequence[Tensor], images: Tensor) -> list[keras.KerasTensor]:
        return [keras.KerasTensor((None, 4)) for _ in pyramid]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sizes": self.sizes,
            "strides": self.strides,
            "ratios": self.ratios,
            "rounded": self.rounded,
            "stride_from_padded_size": self.stride_from_padded_size,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ProposalLayer(Float32Layer):
    """Computes the proposals from the RPN's outputs (Faster R-CNN, section 3.1; FPN, section 4.1).

    It takes the best candidates of each level, decodes and clips them, and applies NMS within each level. The
    best boxes of all levels are the proposals.

    Args:
        pre_nms: Maximum number of candidates per level.
        post_nms: Number of proposals per image, N.
        nms_iou: A candidate is dropped if its IoU with a higher-scored kept one of its level is larger.
            Defaults to 0.7.
        min_size: Minimum side of a candidate, pixels, see `ops.boxes.large`. Defaults to 0.
        joint_levels: Whether to treat all levels as one. Defaults to False.
        clamp_deltas: Whether to limit dh and dw, see `ops.boxes.decode_deltas`. Defaults to True.
        ops: `DetectionOps` with the NMS. Defaults to `current_detection_ops`. It depends on the
            runtime and is therefore not part of the saved config.

    Call arguments:
        logits: List of `[B, H, W, A]`.
        deltas: List of `[B, H, W, A * 4]`, (dy, dx, dh, dw).
        anchors: List of `[H * W * A, 4]`, yxyx.
        windows: `[B, 4]`, yxyx: the region that proposals are clipped to.

    Returns:
        Dict of
        `boxes`: `[B, N, 4]`, yxyx.
        `scores`: `[B, N]`, logits in descending order.
        `valid`: `[B, N]` bool. Rows that are not valid are zeros.
    """

    def __init__(
        self,
        pre_nms: int,
        post_nms: int,
        *,
        nms_iou: float = 0.7,
        min_size: float = 0.0,
        joint_levels: bool = False,
        clamp_deltas: bool = True,
        ops: DetectionOps | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pre_nms = pre_nms
        self.post_nms = post_nms
        self.nms_iou = nms_iou
        self.min_size = min_size
        self.joint_levels = joint_levels
        self.clamp_deltas = clamp_deltas
        self.ops = ops or current_detection_ops()

    def call(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], windows: Tensor
    ) -> dict[str, Tensor]:
        if self.joint_levels:
            logits, deltas, anchors = _one_level(logits, deltas, anchors)
        boxes, scores, levels = [], [], []
        for level, level_anchors in enumerate(anchors):
            flat = tf.reshape(logits[level], [-1, tf.shape(level_anchors)[0]])  # [B, A]
            best, indices = tf.math.top_k(flat, k=tf.minimum(self.pre_nms, tf.shape(flat)[1]))  # [B, k]
            level_deltas = tf.reshape(deltas[level], [-1, tf.shape(level_anchors)[0], 4])
            chosen = tf.gather(level_deltas, indices, batch_dims=1)  # [B, k, 4]
            chosen_anchors = tf.gather(level_anchors, indices)
            boxes.append(box_ops.decode_deltas(chosen, chosen_anchors, clamp=self.clamp_deltas))
            scores.append(best)
            levels.append(tf.fill([tf.shape(best)[1]], level))
        boxes = box_ops.clip(tf.concat(boxes, axis=1), windows)
        scores = tf.where(box_ops.is_large(boxes, self.min_size), tf.concat(scores, axis=1), DROPPED)
        levels = tf.concat(levels, axis=0)
        boxes, scores, valid = self.ops.nms_per_group(
            boxes,
            scores,
            levels,
            num_groups=len(anchors),
            iou_threshold=self.nms_iou,
            max_output=self.post_nms,
        )
        return {"boxes": tf.stop_gradient(boxes), "scores": tf.stop_gradient(scores), "valid": valid}

    def compute_output_spec(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], windows: Tensor
    ) -> dict[str, keras.KerasTensor]:
        shape = (windows.shape[0], self.post_nms)
        return {
            "boxes": keras.KerasTensor((*shape, 4)),
            "scores": keras.KerasTensor(shape),
            "valid": keras.KerasTensor(shape, dtype="bool"),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pre_nms": self.pre_nms,
            "post_nms": self.post_nms,
            "nms_iou": self.nms_iou,
            "min_size": self.min_size,
            "joint_levels": self.joint_levels,
            "clamp_deltas": self.clamp_deltas,
        }


def _one_level(logits, deltas, anchors):
    """Returns the concatenated maps of all levels as lists of one: `[B, A]`, `[B, A, 4]` and `[A, 4]`."""
    counts = [tf.shape(level)[0] for level in anchors]
    logits = [tf.reshape(x, [-1, count]) for x, count in zip(logits, counts, strict=True)]
    deltas = [tf.reshape(x, [-1, count, 4]) for x, count in zip(deltas, counts, strict=True)]
    return [tf.concat(logits, axis=1)], [tf.concat(deltas, axis=1)], [tf.concat(anchors, axis=0)]


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RpnLosses(Float32Layer):
    """Samples anchors and computes the losses of the RPN.

    Args:
        samples, positive_fraction, positive_iou, negative_iou: See `targets.rpn_targets`.
        beta: Transition point of the smooth-L1 loss, see `losses.smooth_l1`.
        box_loss: "smooth_l1" or "giou". Defaults to "smooth_l1".

    Call arguments:
        logits, deltas, anchors: See `ProposalLayer`.
        batch: Dict with `gt_boxes`, `gt_class_ids` and `seeds`.

    Returns:
        Dict of
        `rpn_objectness_loss`: `[B, 2]`, sum and count, see `losses`.
        `rpn_box_loss`: `[B, 2]`, sum and count.
    """

    def __init__(
        self,
        *,
        samples: int,
        positive_fraction: float,
        positive_iou: float,
        negative_iou: float,
        beta: float,
        box_loss: str = "smooth_l1",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_arguments = {
            "samples": samples,
            "positive_fraction": positive_fraction,
            "positive_iou": positive_iou,
            "negative_iou": negative_iou,
        }
        self.beta = beta
        self.box_loss = box_loss

    def call(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        batch: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        all_anchors = tf.concat(anchors, axis=0)  # [A, 4]
        sampled = targets.rpn_targets(all_anchors, batch, **self.target_arguments)
        num_images = tf.shape(batch["gt_boxes"])[0]
        all_logits = tf.concat([tf.reshape(x, [num_images, -1]) for x in logits], axis=1)  # [B, A]
        all_deltas = tf.concat([tf.reshape(x, [num_images, -1, 4]) for x in deltas], axis=1)  # [B, A, 4]
        sampled_logits = tf.gather(all_logits, sampled["indices"], batch_dims=1)  # [B, S]
        sampled_deltas = tf.gather(all_deltas, sampled["indices"], batch_dims=1)
        objectness = losses.objectness_loss(sampled_logits, sampled["objectness"], sampled["valid"])
        expected = sampled["deltas"]
        samples = {"positive": sampled["positive"], "valid": sampled["valid"]}
        if self.box_loss == "giou":
            sampled_anchors = tf.gather(all_anchors, sampled["indices"])
            box_loss = losses.giou_loss(sampled_deltas, expected, sampled_anchors, **samples)
        else:
            box_loss = losses.box_loss(sampled_deltas, expected, **samples, beta=self.beta)
        return {"rpn_objectness_loss": objectness, "rpn_box_loss": box_loss}

    def compute_output_spec(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        batch: Mapping[str, Tensor],
    ) -> dict[str, keras.KerasTensor]:
        names = ("rpn_objectness_loss", "rpn_box_loss")
        return {name: keras.KerasTensor((batch["gt_boxes"].shape[0], 2)) for name in names}

    def get_config(self) -> dict[str, Any]:
        arguments = {**self.target_arguments, "beta": self.beta, "box_loss": self.box_loss}
        return {**super().get_config(), **arguments}
