"""The mask branch around its convolutions."""

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskPredictor(keras.layers.Layer):
    """The last 1x1 convolution of the mask branch, computed for one class of each RoI only.

    Section 3: masks are class-specific and do not compete; of K masks a RoI needs the one of its class.

    Args:
        num_outputs: classes with the background, K + 1; 1 is one mask for all classes (section 4.2).

    Call arguments:
        features: `[R, M, M, C]`.
        class_ids: `[R]` int32.

    Output shape:
        `[R, M, M]`, logits.
    """

    def __init__(self, num_outputs, **kwargs):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def build(self, features_shape, class_ids_shape=None):
        initializer = keras.initializers.RandomNormal(stddev=0.001)
        self.kernel = self.add_weight(
            name="kernel", shape=(features_shape[-1], self.num_outputs), initializer=initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.num_outputs,), initializer="zeros")

    def call(self, features, class_ids):
        if self.num_outputs == 1:
            class_ids = tf.zeros_like(class_ids)
        # One-hot instead of a gather: the gradient of the kernel stays dense.
        chosen = tf.one_hot(class_ids, self.num_outputs, dtype=self.compute_dtype)  # [R, K + 1]
        kernel = tf.matmul(chosen, self.kernel, transpose_b=True)  # [R, C]
        bias = tf.linalg.matvec(chosen, self.bias)  # [R]
        return tf.einsum("rhwc,rc->rhw", features, kernel) + bias[:, None, None]

    def compute_output_shape(self, features_shape, class_ids_shape=None):
        return features_shape[:-1]

    def get_config(self):
        return {**super().get_config(), "num_outputs": self.num_outputs}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class FirstRois(Float32Layer):
    """The first RoIs of each image: where `RoiTargets` puts the positives.

    Args:
        count: how many, P.

    Call arguments:
        sampled: dict of `RoiTargets`.

    Returns:
        The same dict, `[B, P, ...]`.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, sampled):
        return {name: value[:, : self.count] for name, value in sampled.items()}

    def compute_output_spec(self, sampled):
        return {
            name: keras.KerasTensor((value.shape[0], self.count, *value.shape[2:]), dtype=value.dtype)
            for name, value in sampled.items()
        }

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MergeRois(Float32Layer):
    """Puts the RoIs of all images in a row, as the heads take them: `[B, N, ...]` to `[B * N, ...]`."""

    def call(self, x):
        return tf.reshape(x, [-1, *x.shape[2:]])

    def compute_output_spec(self, x):
        return keras.KerasTensor((None, *x.shape[2:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskLoss(Float32Layer):
    """Compares the masks of the positive RoIs with their objects (section 3, L_mask).

    Call arguments:
        logits: `[B * P, M, M]`.
        positives: dict of `FirstRois`.
        batch: dict of `gt_boxes` and `gt_masks`.

    Returns:
        `[B]`.
    """

    def call(self, logits, positives, batch):
        size = logits.shape[-1]
        rois = positives["rois"]
        expected = targets.mask_targets(rois, positives["matched"], batch, size)  # [B, P, M, M]
        logits = tf.reshape(logits, [-1, rois.shape[1], size, size])
        return losses.mask_loss(logits, expected, positives["positive"])

    def compute_output_spec(self, logits, positives, batch):
        return keras.KerasTensor(positives["rois"].shape[:1])


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskProbabilities(Float32Layer):
    """Gives the masks of all detections their image back.

    Call arguments:
        logits: `[B * D, M, M]`.
        boxes: `[B, D, 4]`.

    Output shape:
        `[B, D, M, M]`, in 0..1.
    """

    def call(self, logits, boxes):
        return tf.reshape(tf.sigmoid(logits), [-1, boxes.shape[1], *logits.shape[1:]])

    def compute_output_spec(self, logits, boxes):
        return keras.KerasTensor((*boxes.shape[:2], *logits.shape[1:]))
