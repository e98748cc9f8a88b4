"""`postprocessing.keypoint_decode` as TensorFlow ops: decodes heatmaps to keypoints inside a SavedModel.

Letters: D detections, S side of the heatmaps, J keypoints, h w height and width of a box in pixels.
"""

from typing import Any

import tensorflow as tf

SHARPNESS = -0.75  # slope at distance 1 of OpenCV's cubic interpolation (Keys 1981, "a")


def decode_keypoints(heatmaps: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Returns the keypoints of the detections of one image; see `keypoint_decode.decode_keypoints`.

    Args:
        heatmaps: `[D, S, S, J]`, logits on a grid that covers the box.
        boxes: `[D, 4]`, yxyx, pixels of the padded image.

    Returns:
        `[D, J, 3]` float32: y, x in pixels of the padded image, and the score, 0..1.
    """
    rows = tf.TensorSpec([heatmaps.shape[-1], 3], tf.float32)
    pairs = (tf.cast(heatmaps, tf.float32), boxes)
    return tf.map_fn(lambda pair: _decode(*pair), pairs, parallel_iterations=1, fn_output_signature=rows)


def _decode(logits: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Decodes the heatmaps of one detection: `[S, S, J], [4] -> [J, 3]`."""
    origin = box[:2]
    size = tf.maximum(box[2:] - origin, 1)
    pixels = tf.cast(tf.math.ceil(size), tf.int32)
    shape: Any = logits.shape  # static
    side, _, count = shape
    rows, columns = cubic_matrix(side, pixels[0]), cubic_matrix(side, pixels[1])
    narrow = tf.einsum("wt,stj->swj", columns, logits)
    enlarged = tf.matmul(rows, tf.reshape(narrow, [side, -1]))  # [h, w * J]
    enlarged = tf.reshape(enlarged, [-1, count])  # [h * w, J]
    best = tf.argmax(enlarged, axis=0, output_type=tf.int32)  # [J]
    cells = tf.cast(
        tf.stack([best // pixels[1], tf.math.floormod(best, pixels[1])], axis=-1), tf.float32
    )  # [J, 2]
    points = origin + (cells + 0.5) * size / tf.cast(pixels, tf.float32)
    scores = tf.exp(tf.reduce_max(enlarged, axis=0) - tf.reduce_logsumexp(logits, axis=(0, 1)))
    return tf.concat([points, scores[:, None]], axis=-1)


def cubic_matrix(inputs: int, outputs: tf.Tensor) -> tf.Tensor:
    """Returns the matrix of a cubic interpolation along one axis.

    It samples at pixel centers. Border pixels are repeated.

    Args:
        inputs: Int, number of pixels before.
        outputs: `[]` int32, number of pixels after.

    Returns:
        `[outputs, inputs]` float32.
    """
    scale = inputs / tf.cast(outputs, tf.float32)
    position = (tf.range(tf.cast(outputs, tf.float32)) + 0.5) * scale - 0.5
    first = tf.floor(position) - 1
    taps = first[:, None] + tf.range(4.0)  # [outputs, 4]
    distance = tf.abs(position[:, None] - taps)
    weights = tf.where(distance <= 1, _near(distance), _far(distance))
    taps = tf.clip_by_value(tf.cast(taps, tf.int32), 0, inputs - 1)
    one_hot = tf.one_hot(taps, inputs)  # [outputs, 4, inputs]
    return tf.reduce_sum(weights[:, :, None] * one_hot, axis=1)


def _near(x: tf.Tensor) -> tf.Tensor:
    """Returns the cubic weight of an input pixel at distance `x` of 0 to 1."""
    return ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1


def _far(x: tf.Tensor) -> tf.Tensor:
    """Returns the cubic weight of an input pixel at distance `x` of 1 to 2."""
    return SHARPNESS * (((x - 5) * x + 8) * x - 4)
