"""Tests of the mask branches that the paper compares with its own (tables 2b and 2e)."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn import losses
from mask_rcnn.config import MaskHeadConfig
from mask_rcnn.layers.mask_variants import AllClassMaskPredictor, SelectClassMask, SoftmaxMasks
from mask_rcnn.layers.masks import MaskDeconv, MaskPredictor
from mask_rcnn.networks.heads import hidden_convs, mask_head, mlp_mask_head

pytestmark = pytest.mark.kernels

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(scale=3.0, size=[3, 4, 4, 5]).astype("float32")
CLASS_IDS = np.array([2, 4, 1], "int32")


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_the_sigmoid_of_competing_masks_is_the_softmax():
    probabilities = tf.sigmoid(SoftmaxMasks()(LOGITS, CLASS_IDS)).numpy()
    expected = softmax(LOGITS.astype("float64"))
    for roi, class_id in enumerate(CLASS_IDS):
        np.testing.assert_allclose(probabilities[roi, ..., 0], expected[roi, ..., class_id], rtol=1e-5)
        np.testing.assert_allclose(probabilities[roi, ..., 1], expected[roi, ..., 0], rtol=1e-5)


def test_the_competing_loss_is_the_cross_entropy_of_all_classes():
    targets = RNG.integers(0, 2, [1, 3, 4, 4]).astype("float32")
    positive = np.array([[True, False, True]])
    competing = SoftmaxMasks()(LOGITS, CLASS_IDS)[None]
    labels = np.where(targets[0] > 0, CLASS_IDS[:, None, None], 0)
    every = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=LOGITS).numpy()
    total, count = losses.competing_mask_loss(competing, targets, positive)[0].numpy()
    assert total == pytest.approx(every[[0, 2]].mean(axis=(1, 2)).sum(), rel=1e-5) and count == 2


def test_extreme_logits_have_a_finite_loss_and_gradient():
    logits = tf.constant(LOGITS * 1e4)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        competing = SoftmaxMasks()(logits, CLASS_IDS)[None]
        loss = losses.competing_mask_loss(competing, np.ones([1, 3, 4, 4], "float32"), np.ones([1, 3], bool))
    assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, logits)).all()


def test_every_mask_holds_the_mask_of_the_class():
    features = RNG.normal(size=[3, 4, 4, 8]).astype("float32")
    quarters = MaskDeconv(6)(features)
    one, every = MaskPredictor(5), AllClassMaskPredictor(5)
    expected = one(quarters, CLASS_IDS)
    every(quarters)
    every.set_weights(one.get_weights())
    np.testing.assert_allclose(SelectClassMask()(every(quarters), CLASS_IDS), expected, atol=1e-5)


def test_masks_of_all_classes_alike_do_not_ask_for_the_class():
    np.testing.assert_array_equal(SelectClassMask()(LOGITS[..., :1], CLASS_IDS), LOGITS[..., 0])


@pytest.mark.parametrize("competing", [False, True])
@pytest.mark.parametrize("build", [mask_head, mlp_mask_head])
def test_a_mask_branch_gives_twice_the_side(build, competing):
    convs = hidden_convs(1, 8)
    masks = build((7, 7, 8), convs, num_outputs=5, competing=competing)
    found = masks([RNG.normal(size=[3, 7, 7, 8]).astype("float32"), CLASS_IDS])
    assert found.shape == ((3, 14, 14, 2) if competing else (3, 14, 14))


def test_the_mlp_has_the_layers_of_table_2e():
    branch = mlp_mask_head((14, 14, 256), dense_units=(1024, 1024), num_outputs=81)
    assert branch.get_layer("fc1").kernel.shape == (14 * 14 * 256, 1024)
    assert branch.get_layer("fc2").kernel.shape == (1024, 1024)
    assert branch.get_layer("predictor").kernel.shape == (1024, 28 * 28 * 81)


def test_classes_that_compete_need_a_mask_each():
    with pytest.raises(ValueError, match="needs one mask per class"):
        MaskHeadConfig(loss="softmax", class_agnostic=True)
