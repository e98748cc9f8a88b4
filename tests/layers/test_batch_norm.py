"""Tests of batch normalization in the heads: which RoIs its statistics use."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.config import AnchorConfig, BackboneConfig, BoxHeadConfig, MaskHeadConfig
from mask_rcnn.layers.batch_norm import BatchNorm, ValidRois
from mask_rcnn.model import build_parts, training_model
from mask_rcnn.networks.resnet import BLOCKS

COUNTED = np.array([[True, False, True], [True, True, False]])
NOWHERE = np.zeros_like(COUNTED)


@pytest.fixture
def rois():
    """RoI features `[6, 2, 3, 4]`. Those that must not count have very different values."""
    rng = np.random.default_rng(0)
    x = rng.normal([1, -2, 30, 0], [1, 2, 3, 0.1], [6, 2, 3, 4]).astype("float32")
    x[~COUNTED.reshape(-1)] += 1e3
    return x


def make_network(layer=BatchNorm):
    inputs = keras.Input([2, 3, 4])
    return keras.Model(inputs, layer(momentum=0.9, epsilon=1e-5)(inputs))


def moving(network):
    return [np.array(variable.numpy()) for variable in network.non_trainable_variables]


def run(call, network, x):
    """Returns the output, the gradients of a loss, and the moving statistics after the call."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x)
        loss = tf.reduce_sum(y[..., :2] ** 2 * tf.sin(y[..., 2:]))
    gamma_beta = [variable.value for variable in network.trainable_variables]
    return y, tape.gradient(loss, [x, *gamma_beta]), moving(network)


def test_statistics_outputs_and_gradients_are_those_of_keras_for_the_counted_rois_alone(rois):
    ours, keras_own = make_network(), make_network(keras.layers.BatchNormalization)
    is_counted = COUNTED.reshape(-1)
    found = run(lambda x: ValidRois(ours)(x, COUNTED, training=True)[tf.constant(is_counted)], ours, rois)
    expected = run(lambda x: keras_own(x, training=True), keras_own, rois[is_counted])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1][0].numpy()[is_counted], expected[1][0], atol=1e-4)
    np.testing.assert_array_equal(found[1][0].numpy()[~is_counted], 0)
    for ours, theirs in zip([*found[1][1:], *found[2]], [*expected[1][1:], *expected[2]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_without_a_counted_roi_the_moving_statistics_normalize_and_stay_bit_by_bit(rois):
    network = make_network()
    for variable in network.non_trainable_variables:
        variable.assign(np.random.default_rng(1).uniform(0.3, 2, [4]))
    before = moving(network)
    expected = network(rois)
    y, gradients, after = run(lambda x: ValidRois(network)(x, NOWHERE, training=True), network, rois)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_inference_and_frozen_layers_see_no_difference(rois):
    network = make_network()
    np.testing.assert_array_equal(ValidRois(network)(rois, COUNTED), network(rois))
    network.trainable = False
    np.testing.assert_array_equal(ValidRois(network)(rois, COUNTED, training=True), network(rois))


def test_outside_of_counted_rois_it_is_that_of_keras(rois):
    ours, keras_own = make_network(), make_network(keras.layers.BatchNormalization)
    np.testing.assert_array_equal(ours(rois, training=True), keras_own(rois, training=True))
    for one, other in zip(moving(ours), moving(keras_own), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def head_configs(tiny_config, monkeypatch):
    for name in BLOCKS:
        monkeypatch.setitem(BLOCKS, name, (1, 1, 1, 1))
    norms = {
        norm: replace(
            tiny_config,
            box_head=replace(tiny_config.box_head, convs=1, conv_channels=8, norm=norm),
            mask_head=MaskHeadConfig(convs=2, channels=8, norm=norm),
        )
        for norm in ("batch_norm", "sync_batch_norm")
    }
    c4 = replace(
        tiny_config,
        backbone=BackboneConfig(norm="batch_norm", frozen_stages=4, last_stage=4, weights=None),
        fpn=None,
        anchors=AnchorConfig(sizes=(8, 16, 32), strides=(16,)),
        box_head=BoxHeadConfig(pool_size=14, average_pool=True, dense_units=(), samples=16),
        mask_head=MaskHeadConfig(convs=0, channels=8),
    )
    return norms | {"C4": c4}


def statistics_after_a_step(config, *batches):
    """Returns the moving statistics of the trained parts: at the start, then after a step with each batch."""
    keras.utils.set_random_seed(0)
    parts = build_parts(config)
    variables = {
        f"{name}/{variable.path}": variable
        for name, part in parts.named().items()
        for variable in part.non_trainable_variables
        if "moving" in variable.path and name != "backbone"
    }
    model, start = training_model(parts, config), {name: np.array(v.numpy()) for name, v in variables.items()}
    results = [start]
    for batch in batches:
        for name, variable in variables.items():
            variable.assign(start[name])
        losses = model(batch, training=True)
        assert all(np.isfinite(value).all() for value in losses.values())
        results.append({name: np.array(variable.numpy()) for name, variable in variables.items()})
    return results


def with_second_image(batch, class_ids, box):
    gt_boxes, gt_class_ids = batch["gt_boxes"].copy(), batch["gt_class_ids"].copy()
    gt_boxes[1], gt_class_ids[1] = 0, 0
    gt_boxes[1, 0], gt_class_ids[1, 0] = box, class_ids
    return batch | {"gt_boxes": gt_boxes, "gt_class_ids": gt_class_ids}


@pytest.mark.parametrize("name", ["batch_norm", "sync_batch_norm", "C4"])
def test_an_image_in_which_no_roi_counts_does_not_change_the_statistics(name, head_configs, tiny_batch):
    crowd = with_second_image(tiny_batch, -1, [-300, -300, 400, 400])  # no valid RoI, no positive one
    alone = {key: value[:1] for key, value in tiny_batch.items()}
    start, together, apart = statistics_after_a_step(head_configs[name], crowd, alone)
    assert together
    for path, value in together.items():
        assert np.abs(value - start[path]).max() > 1e-6, path
        np.testing.assert_allclose(value, apart[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_negatives_do_not_change_the_statistics_of_the_mask_head(head_configs, tiny_batch):
    empty = with_second_image(tiny_batch, 0, [0, 0, 0, 0])
    alone = {key: value[:1] for key, value in tiny_batch.items()}
    start, together, apart = statistics_after_a_step(head_configs["batch_norm"], empty, alone)
    mask = {path for path in together if path.startswith("mask_head/")}
    assert len(mask) == 4
    for path in mask:
        assert np.abs(together[path] - start[path]).max() > 1e-6, path
        np.testing.assert_allclose(together[path], apart[path], rtol=1e-4, atol=1e-6, err_msg=path)
    assert any(np.abs(together[path] - apart[path]).max() > 1e-4 for path in together.keys() - mask)


def test_a_batch_without_objects_leaves_the_statistics_of_the_mask_head(head_configs, tiny_batch):
    empty = with_second_image(tiny_batch, 0, [0, 0, 0, 0])
    empty = {key: value[1:] for key, value in empty.items()}
    start, after = statistics_after_a_step(head_configs["batch_norm"], empty)
    for path in start:
        if path.startswith("mask_head/"):
            np.testing.assert_array_equal(after[path], start[path], err_msg=path)
