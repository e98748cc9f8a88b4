"""Region proposals: anchors, proposals, and the RPN's losses."""

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops import nms
from mask_rcnn.ops.anchors import base_anchors, grid_anchors


@keras.saving.register_keras_serializable(package="mask_rcnn")
class Anchors(Float32Layer):
    """The anchor boxes of each pyramid level.

    Args:
        sizes: sqrt(area) of the anchors of each level, pixels; of a single level all of them.
        strides: pixels from cell to cell of each level.
        ratios: heights over widths.
        rounded: base anchors have whole-pixel corners, as torchvision's.
        stride_from_padded_size: the stride is the padded side divided by the side of the map, rounded
            down, as in torchvision: 61 instead of 64 for the 13 rows of P6 of an 800 pixel image.

    Call arguments:
        pyramid: list of maps `[B, H, W, C]`.
        images: `[B, H, W, 3]`, padded.

    Returns:
        List of `[H * W * A, 4]`, yxyx; at a cell one size after the other, in each of them the ratios.
    """

    def __init__(self, sizes, strides, ratios, rounded=False, stride_from_padded_size=False, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.strides = tuple(strides)
        self.ratios = tuple(ratios)
        self.rounded = rounded
        self.stride_from_padded_size = stride_from_padded_size
        self.grid = grid_anchors  # exports put in one that is computed when the model runs

    def call(self, pyramid, images):
        anchors = []
        sizes = [self.sizes] if len(self.strides) == 1 else [(size,) for size in self.sizes]
        for features, level_sizes, stride in zip(pyramid, sizes, self.strides, strict=True):
            map_size = tf.shape(features)[1:3]
            steps = (stride, stride)
            if self.stride_from_padded_size:
                steps = tf.shape(images)[1:3] // map_size
            base = base_anchors(level_sizes, self.ratios, self.rounded)
            anchors.append(self.grid(map_size, steps, base))
        return anchors

    def compute_output_spec(self, pyramid, images):
        return [keras.KerasTensor((None, 4)) for _ in pyramid]

    def get_config(self):
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
    """Turns the RPN's maps into the best boxes (Faster R-CNN, section 3.1; FPN, section 4.1).

    The best candidates of each level are decoded and clipped, overlapping ones of a level suppressed, and
    the best of all levels kept.

    Args:
        pre_nms: candidates of each level.
        post_nms: proposals of an image, N.
        nms_iou: a candidate that overlaps a better one of its level by more is dropped.
        min_size: candidates with a shorter side are dropped, see `ops.boxes.large`.
        joint_levels: all levels count as one.
        clamp_deltas: see `ops.boxes.decode_deltas`.

    Call arguments:
        logits: list of `[B, H, W, A]`.
        deltas: list of `[B, H, W, A * 4]`, (dy, dx, dh, dw).
        anchors: list of `[H * W * A, 4]`.
        windows: `[B, 4]`, yxyx, where proposals may lie.

    Returns:
        Dict of `boxes` `[B, N, 4]`, `scores` `[B, N]` (logits, falling) and `valid` `[B, N]` bool.
    """

    def __init__(
        self, pre_nms, post_nms, nms_iou=0.7, min_size=0.0, joint_levels=False, clamp_deltas=True, **kwargs
    ):
        super().__init__(**kwargs)
        self.pre_nms = pre_nms
        self.post_nms = post_nms
        self.nms_iou = nms_iou
        self.min_size = min_size
        self.joint_levels = joint_levels
        self.clamp_deltas = clamp_deltas
        self.suppress = nms.nms_per_group  # exports put in one that their runtime has the ops for

    def call(self, logits, deltas, anchors, windows):
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
        scores = tf.where(box_ops.large(boxes, self.min_size), tf.concat(scores, axis=1), nms.DROPPED)
        levels = tf.concat(levels, axis=0)
        boxes, scores, valid = self.suppress(boxes, scores, levels, len(anchors), self.nms_iou, self.post_nms)
        return {"boxes": tf.stop_gradient(boxes), "scores": tf.stop_gradient(scores), "valid": valid}

    def compute_output_spec(self, logits, deltas, anchors, windows):
        shape = (windows.shape[0], self.post_nms)
        return {
            "boxes": keras.KerasTensor((*shape, 4)),
            "scores": keras.KerasTensor(shape),
            "valid": keras.KerasTensor(shape, dtype="bool"),
        }

    def get_config(self):
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
    """The maps of all levels in a row, as if they were one: `[B, A]`, `[B, A, 4]` and `[A, 4]`, in lists."""
    counts = [tf.shape(level)[0] for level in anchors]
    logits = [tf.reshape(x, [-1, count]) for x, count in zip(logits, counts, strict=True)]
    deltas = [tf.reshape(x, [-1, count, 4]) for x, count in zip(deltas, counts, strict=True)]
    return [tf.concat(logits, axis=1)], [tf.concat(deltas, axis=1)], [tf.concat(anchors, axis=0)]


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RpnLosses(Float32Layer):
    """Samples anchors and compares the RPN with their targets.

    Args:
        samples, positive_fraction, positive_iou, negative_iou: as in `targets.rpn_targets`.
        beta: corner of the smooth-L1.
        box_loss: "smooth_l1" or "giou".

    Call arguments:
        logits, deltas, anchors: as in `ProposalLayer`.
        batch: dict of `gt_boxes`, `gt_class_ids` and `seeds`.

    Returns:
        Dict of `rpn_objectness_loss` and `rpn_box_loss`, `[B, 2]` each: sum and count, see `losses`.
    """

    def __init__(
        self, samples, positive_fraction, positive_iou, negative_iou, beta, box_loss="smooth_l1", **kwargs
    ):
        super().__init__(**kwargs)
        self.target_arguments = {
            "samples": samples,
            "positive_fraction": positive_fraction,
            "positive_iou": positive_iou,
            "negative_iou": negative_iou,
        }
        self.beta = beta
        self.box_loss = box_loss

    def call(self, logits, deltas, anchors, batch):
        anchors = tf.concat(anchors, axis=0)  # [A, 4]
        sampled = targets.rpn_targets(anchors, batch, **self.target_arguments)
        num_images = tf.shape(batch["gt_boxes"])[0]
        logits = tf.concat([tf.reshape(x, [num_images, -1]) for x in logits], axis=1)  # [B, A]
        deltas = tf.concat([tf.reshape(x, [num_images, -1, 4]) for x in deltas], axis=1)  # [B, A, 4]
        logits = tf.gather(logits, sampled["indices"], batch_dims=1)  # [B, S]
        deltas = tf.gather(deltas, sampled["indices"], batch_dims=1)
        objectness = losses.objectness_loss(logits, sampled["objectness"], sampled["valid"])
        expected, counts = sampled["deltas"], (sampled["positive"], sampled["valid"])
        if self.box_loss == "giou":
            box = losses.giou_loss(deltas, expected, tf.gather(anchors, sampled["indices"]), *counts)
        else:
            box = losses.box_loss(deltas, expected, *counts, self.beta)
        return {"rpn_objectness_loss": objectness, "rpn_box_loss": box}

    def compute_output_spec(self, logits, deltas, anchors, batch):
        names = ("rpn_objectness_loss", "rpn_box_loss")
        return {name: keras.KerasTensor((batch["gt_boxes"].shape[0], 2)) for name in names}

    def get_config(self):
        arguments = {**self.target_arguments, "beta": self.beta, "box_loss": self.box_loss}
        return {**super().get_config(), **arguments}
