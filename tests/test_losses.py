"""Tests of the losses: numbers by hand, and values that must have no effect."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.losses import box_loss, class_loss, giou_loss, mask_loss, objectness_loss, smooth_l1

TRUE, FALSE = True, False
LOG_2 = math.log(2)
WILD = 1e9  # value at positions that must not count


def floats(*rows):
    return tf.constant(rows, tf.float32)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [(0.0, [0, 0.25, 2]), (1.0, [0, 0.03125, 1.5]), (0.5, [0, 0.0625, 1.75])],
)
def test_smooth_l1_is_quadratic_below_beta(beta, expected):
    predictions = tf.constant([1.0, 1.25, -1.0])
    np.testing.assert_allclose(smooth_l1(predictions, tf.ones(3), beta), expected)


@pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0])
def test_the_slope_of_smooth_l1_is_one_far_away(beta):
    distance = tf.constant([5.0, -5.0])
    with tf.GradientTape() as tape:
        tape.watch(distance)
        loss = smooth_l1(distance, tf.zeros(2), beta)
    np.testing.assert_array_equal(tape.gradient(loss, distance), [1, -1])


def test_an_undecided_objectness_costs_log_two():
    loss = objectness_loss(floats([0, 0]), floats([1, 0]), tf.constant([[TRUE, TRUE]]))
    np.testing.assert_allclose(loss, [[2 * LOG_2, 2]], rtol=1e-6)


def test_objectness_is_summed_over_the_valid_samples_of_each_image():
    logits = floats([math.log(3), 0, WILD], [0, WILD, WILD])  # sigmoid 3/4, 1/2
    targets = floats([1, 0, 0], [1, 0, 0])
    valid = tf.constant([[TRUE, TRUE, FALSE], [TRUE, FALSE, FALSE]])
    expected = [[math.log(4 / 3) + LOG_2, 2], [LOG_2, 1]]
    np.testing.assert_allclose(objectness_loss(logits, targets, valid), expected, rtol=1e-6)


def test_boxes_are_summed_over_the_positives_and_all_samples_are_counted():
    deltas = floats([[1, 2, 3, 4], [1, 1, 1, 1], [WILD] * 4, [WILD] * 4])  # [1, 4, 4]
    positive = tf.constant([[TRUE, TRUE, FALSE, FALSE]])
    valid = tf.constant([[TRUE, TRUE, TRUE, TRUE]])
    loss = box_loss(deltas, tf.zeros([1, 4, 4]), positive=positive, valid=valid, beta=0.0)
    np.testing.assert_allclose(loss, [[10 + 4, 4]])


ANCHORS = floats([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]])  # [1, 4, 4]


def test_giou_is_of_the_boxes_that_the_deltas_lead_to():
    deltas = floats([[0, 0, 0, 0], [0, 2, 0, 0], [WILD] * 4, [WILD] * 4])  # no shift; two widths to the right
    positive = tf.constant([[TRUE, TRUE, FALSE, FALSE]])
    valid = tf.constant([[TRUE, TRUE, TRUE, FALSE]])
    # A gap of 10 columns: no overlap, and a third of the enclosing box is empty.
    loss = giou_loss(deltas, tf.zeros([1, 4, 4]), ANCHORS, positive=positive, valid=valid)
    np.testing.assert_allclose(loss, [[0 + 1 + 1 / 3, 3]], rtol=1e-5)
    loss = giou_loss(
        10 * deltas, tf.zeros([1, 4, 4]), ANCHORS, positive=positive, valid=valid, weights=(10.0,) * 4
    )
    np.testing.assert_allclose(loss, [[0 + 1 + 1 / 3, 3]], rtol=1e-5)


def test_giou_draws_boxes_that_do_not_overlap_together():
    deltas = floats([[0, 2, 0, 0], [WILD] * 4, [0, 0, 0, 0], [0] * 4])
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        positive = tf.constant([[TRUE, FALSE, FALSE, FALSE]])
        loss = giou_loss(deltas, tf.zeros([1, 4, 4]), ANCHORS, positive=positive, valid=positive)[:, 0]
    gradient = tape.gradient(loss, deltas)[0]
    assert gradient[0, 1] > 0  # to the left
    np.testing.assert_array_equal(gradient[1:], np.zeros([3, 4]))


def test_an_undecided_class_costs_the_logarithm_of_the_number_of_classes():
    loss = class_loss(tf.zeros([1, 2, 5]), tf.constant([[0, 4]]), tf.constant([[TRUE, TRUE]]))
    np.testing.assert_allclose(loss, [[2 * math.log(5), 2]], rtol=1e-6)


def test_classes_of_invalid_samples_do_not_count():
    logits = floats([[math.log(3), 0], [WILD, -WILD]], [[0, 0], [0, math.log(3)]])
    loss = class_loss(logits, tf.constant([[0, 1], [1, 1]]), tf.constant([[TRUE, FALSE], [TRUE, TRUE]]))
    np.testing.assert_allclose(loss, [[math.log(4 / 3), 1], [LOG_2 + math.log(4 / 3), 2]], rtol=1e-6)


def test_masks_are_summed_over_the_positives_each_the_mean_over_its_pixels():
    undecided = tf.zeros([2, 2])
    sure = tf.fill([2, 2], math.log(3))
    logits = tf.stack([[undecided, sure], [sure, tf.fill([2, 2], WILD)]])  # [2, 2, 2, 2]
    targets = tf.stack([[tf.ones([2, 2]), tf.ones([2, 2])], [tf.zeros([2, 2]), tf.zeros([2, 2])]])
    loss = mask_loss(logits, targets, tf.constant([[TRUE, TRUE], [TRUE, FALSE]]))
    np.testing.assert_allclose(loss, [[LOG_2 + math.log(4 / 3), 2], [math.log(4), 1]], rtol=1e-6)


@pytest.mark.parametrize("samples", [0, 3])
def test_without_a_valid_sample_all_sums_and_counts_are_zero(samples):
    nowhere = tf.zeros([2, samples], bool)
    wild = tf.fill([2, samples], WILD)
    deltas, masks = tf.fill([2, samples, 4], WILD), tf.fill([2, samples, 2, 2], WILD)
    losses = [
        objectness_loss(wild, wild, nowhere),
        box_loss(deltas, 0 * deltas, positive=nowhere, valid=nowhere, beta=0.1),
        giou_loss(deltas, 0 * deltas, 0 * deltas, positive=nowhere, valid=nowhere),
        class_loss(deltas, tf.zeros([2, samples], tf.int32), nowhere),
        mask_loss(masks, 0 * masks, nowhere),
    ]
    np.testing.assert_array_equal(losses, np.zeros([5, 2, 2]))


def test_what_does_not_count_has_no_gradient():
    deltas = tf.fill([1, 2, 4], WILD)
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        valid = tf.constant([[TRUE, TRUE]])
        loss = box_loss(deltas, -deltas, positive=tf.constant([[TRUE, FALSE]]), valid=valid, beta=0.0)[:, 0]
    np.testing.assert_array_equal(tape.gradient(loss, deltas), [[[2] * 4, [0] * 4]])


def test_losses_of_half_precision_are_float32():
    logits = tf.zeros([1, 2, 4], tf.bfloat16)
    valid = tf.constant([[TRUE, TRUE]])
    assert class_loss(logits, tf.constant([[0, 1]]), valid).dtype == tf.float32
    assert box_loss(logits, tf.zeros([1, 2, 4]), positive=valid, valid=valid, beta=0.0).dtype == tf.float32
    assert objectness_loss(logits[..., 0], tf.zeros([1, 2]), valid).dtype == tf.float32
    assert mask_loss(logits[..., None], tf.zeros([1, 2, 4, 1]), valid).dtype == tf.float32
