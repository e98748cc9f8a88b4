"""The mask branch around its convolutions."""

import keras
import tensorflow as tf

from mask_rcnn import losses, targets
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops.empty_batch import never_empty


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskDeconv(keras.layers.Layer):
    """The 2x2 deconvolution of stride 2 with its ReLU (figure 4), its pixels not yet in their places.

    Nothing overlaps: each input pixel becomes four, by a matrix. They are put in their places when the
    predictor has made one number of their C channels, which moves C times less memory.

    Args:
        filters: C.

    Output shape:
        `[R, P, P, 4, C]` for `[R, P, P, C']`: top left, top right, bottom left, bottom right.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        # In the layout of keras.layers.Conv2DTranspose.
        self.kernel = self.add_weight(
            name="kernel", shape=(2, 2, self.filters, input_shape[-1]), initializer="he_normal"
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x):
        return never_empty(self._deconvolve, x)

    def _deconvolve(self, x):
        channels = x.shape[-1]
        kernel = tf.transpose(tf.reshape(self.kernel, [1, 4 * self.filters, channels, 1]), [0, 3, 2, 1])
        y = tf.nn.conv2d(x, kernel, 1, "VALID")  # [R, P, P, 4 C]
        y = tf.nn.relu(tf.nn.bias_add(y, tf.tile(self.bias, [4])))
        return tf.reshape(y, [-1, *x.shape[1:3], 4, self.filters])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], 4, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class MaskKernel(keras.layers.Layer):
    """Base class of the last 1x1 convolution of the mask branch: its weights.

    Args:
        num_outputs: Classes with the background, K + 1; 1 is one mask for all classes (section 4.2).
    """

    def __init__(self, num_outputs, **kwargs):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def build(self, features_shape):
        initializer = keras.initializers.RandomNormal(stddev=0.001)
        self.kernel = self.add_weight(
            name="kernel", shape=(features_shape[-1], self.num_outputs), initializer=initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.num_outputs,), initializer="zeros")

    def get_config(self):
        return {**super().get_config(), "num_outputs": self.num_outputs}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskPredictor(MaskKernel):
    """The last 1x1 convolution of the mask branch, computed for one class of each RoI only.

    Section 3: masks are class-specific and do not compete; of K masks a RoI needs the one of its class.

    Args:
        num_outputs: classes with the background, K + 1; 1 is one mask for all classes (section 4.2).

    Call arguments:
        features: `[R, P, P, 4, C]` of `MaskDeconv`.
        class_ids: `[R]` int32.

    Output shape:
        `[R, 2 P, 2 P]`, logits.
    """

    def build(self, features_shape, class_ids_shape=None):
        super().build(features_shape)

    def call(self, features, class_ids):
        if self.num_outputs == 1:
            class_ids = tf.zeros_like(class_ids)
        # One-hot instead of a gather: the gradient of the kernel stays dense.
        chosen = tf.one_hot(class_ids, self.num_outputs, dtype=self.compute_dtype)  # [R, K + 1]
        kernel = tf.matmul(chosen, self.kernel, transpose_b=True)  # [R, C]
        bias = tf.linalg.matvec(chosen, self.bias)  # [R]
        side, channels = features.shape[1], features.shape[-1]
        flat = tf.reshape(features, [-1, side * side * 4, channels])
        logits = tf.reshape(tf.linalg.matvec(flat, kernel), [-1, side, side, 4]) + bias[:, None, None, None]
        return tf.nn.depth_to_space(logits, 2)[..., 0]

    def compute_output_shape(self, features_shape, class_ids_shape=None):
        return (features_shape[0], 2 * features_shape[1], 2 * features_shape[2])


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
        `[B, 2]`: sum and count, see `losses.mask_loss`.
    """

    def call(self, logits, positives, batch):
        size = logits.shape[-1]
        rois = positives["rois"]
        expected = targets.mask_targets(rois, positives["matched"], batch, size)  # [B, P, M, M]
        logits = tf.reshape(logits, [-1, rois.shape[1], size, size])
        return losses.mask_loss(logits, expected, positives["positive"])

    def compute_output_spec(self, logits, positives, batch):
        return keras.KerasTensor((positives["rois"].shape[0], 2))


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
