"""Box heads in a row: what lies between them (Cai and Vasconcelos 2018)."""

import keras
import tensorflow as tf

from mask_rcnn import targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.layers.roi import roi_targets_spec
from mask_rcnn.ops import boxes as box_ops


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RefineBoxes(Float32Layer):
    """Moves RoIs by what a head says, for the next head to look at. There is no gradient through boxes.

    Args:
        delta_weights: four numbers that the deltas of the head are multiplied by.
        clamp_deltas: see `ops.boxes.decode_deltas`.

    Call arguments:
        deltas: `[B * N, 4]`.
        rois: dict of `boxes` `[B, N, 4]` and `valid` `[B, N]`.
        windows: `[B, 4]`, yxyx, where boxes may lie.

    Returns:
        Dict of `boxes` and `valid`; one that became empty is not valid.
    """

    def __init__(self, delta_weights, clamp_deltas=True, **kwargs):
        super().__init__(**kwargs)
        self.delta_weights = tuple(delta_weights)
        self.clamp_deltas = clamp_deltas

    def call(self, deltas, rois, windows):
        deltas = tf.reshape(deltas, [-1, rois["boxes"].shape[1], 4])  # [B, N, 4]
        boxes = box_ops.decode_deltas(deltas, rois["boxes"], self.delta_weights, self.clamp_deltas)
        boxes = tf.stop_gradient(box_ops.clip(boxes, windows))
        return {"boxes": boxes, "valid": rois["valid"] & (box_ops.area(boxes) > 0)}

    def compute_output_spec(self, deltas, rois, windows):
        return {
            "boxes": keras.KerasTensor(rois["boxes"].shape),
            "valid": keras.KerasTensor(rois["valid"].shape, dtype="bool"),
        }

    def get_config(self):
        arguments = {"delta_weights": self.delta_weights, "clamp_deltas": self.clamp_deltas}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RefinedTargets(Float32Layer):
    """What a head behind the first should say: see `targets.refined_targets`.

    Args:
        positive_iou, delta_weights: as there.

    Call arguments:
        rois: dict of `RefineBoxes`.
        batch: dict of `gt_boxes` and `gt_class_ids`.

    Returns:
        The dict of `targets.roi_targets`.
    """

    def __init__(self, positive_iou, delta_weights, **kwargs):
        super().__init__(**kwargs)
        self.positive_iou = positive_iou
        self.delta_weights = tuple(delta_weights)

    def call(self, rois, batch):
        arguments = (self.positive_iou, self.delta_weights)
        return targets.refined_targets(rois["boxes"], rois["valid"], batch, *arguments)

    def compute_output_spec(self, rois, batch):
        return roi_targets_spec(rois["boxes"].shape[:2])

    def get_config(self):
        arguments = {"positive_iou": self.positive_iou, "delta_weights": self.delta_weights}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ScaleGradient(keras.layers.Layer):
    """Lets values through as they are, and their gradient times a number.

    Each head of a cascade learns from a loss of its own at full rate, but what they share moves by the mean
    of their gradients, not the sum.

    Args:
        scale: that number.

    Call arguments:
        x: tensor.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        @tf.custom_gradient
        def identity(x):
            return tf.identity(x), lambda upstream: upstream * self.scale

        return identity(x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MeanScores(Float32Layer):
    """Joins the opinions of several heads: the logarithm of their mean probability is a logit again.

    Call arguments:
        class_logits: list of `[B * N, K + 1]`.

    Output shape:
        `[B * N, K + 1]`.
    """

    def call(self, class_logits):
        logarithms = tf.stack([tf.nn.log_softmax(logits) for logits in class_logits])  # [heads, B N, K + 1]
        return tf.reduce_logsumexp(logarithms, axis=0) - tf.math.log(float(len(class_logits)))

    def compute_output_spec(self, class_logits):
        return keras.KerasTensor(class_logits[0].shape)
