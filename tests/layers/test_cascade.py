"""Tests of the layers between the box heads of a cascade, with numbers computed by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.layers.cascade import MeanScores, RefineBoxes, ScaleGradient
from mask_rcnn.model.cascade import cascade_heads

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
WINDOWS = np.array([[0, 0, 64, 64]], "float32")
ROIS = {
    "boxes": np.array([[[10, 10, 30, 30], [40, 40, 60, 60], [0, 0, 8, 8]]], "float32"),
    "valid": np.array([[True, True, False]]),
}


def test_refined_boxes_are_moved_and_cut_off_at_the_border():
    deltas = np.array([[0, 5, 0, 0], [0, 30, 0, 0], [0, 0, 0, 0]], "float32")
    refined = RefineBoxes(WEIGHTS)(deltas, ROIS, WINDOWS)
    np.testing.assert_allclose(refined["boxes"], [[[10, 20, 30, 40], [40, 64, 60, 64], [0, 0, 8, 8]]])
    assert refined["valid"].numpy().tolist() == [[True, False, False]]  # the second is outside the image


def test_refined_boxes_have_no_gradient():
    deltas = tf.zeros([3, 4])
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        refined = RefineBoxes(WEIGHTS)(deltas, ROIS, WINDOWS)["boxes"]
    assert tape.gradient(refined, deltas) is None


def test_the_mean_of_scores_by_hand():
    logits = [np.log([[0.2, 0.8], [0.5, 0.5]]), np.log([[0.6, 0.4], [0.1, 0.9]]) + 7]
    mean = MeanScores()([x.astype("float32") for x in logits])
    np.testing.assert_allclose(tf.nn.softmax(mean), [[0.4, 0.6], [0.3, 0.7]], rtol=1e-6)


def test_a_gradient_is_scaled_and_values_are_not():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ScaleGradient(0.25)(x)
        total = tf.reduce_sum(y * [3.0, 4.0])
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(tape.gradient(total, x), [0.75, 1])


def test_a_config_without_a_cascade_has_no_cascade_heads(tiny_parts, tiny_config):
    with pytest.raises(ValueError, match=r"needs a config with a cascade. Received: config.cascade=None"):
        cascade_heads(tiny_parts, tiny_config)
