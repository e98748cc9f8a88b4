"""Tests that rematerialization changes no outputs, gradients or updates of variables."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.backbones import build_backbone
from mask_rcnn.config import BackboneConfig, Config
from mask_rcnn.layers.rematerialize import Rematerialized, rematerialized
from mask_rcnn.model import build_parts, training_model
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.training.trainer import Trainer

IMAGES = np.random.default_rng(0).normal(size=[2, 64, 96, 3]).astype("float32")


def step(network, own, images):
    """Returns the outputs, the gradients, the other variables after a step, and the graph.

    Each call starts from the same state.

    Args:
        network: Model to call.
        own: Model with its variables.
        images: `[B, H, W, 3]`.
    """
    before = [
        np.array(variable.numpy()) for variable in own.variables
    ]  # including the states of random generators

    @tf.function(autograph=False)
    def graph(images):
        with tf.GradientTape() as tape:
            outputs = network(images, training=True)
            loss = tf.add_n([tf.reduce_mean(tf.cast(x, "float32") ** 2) for x in outputs])
        return outputs, tape.gradient(loss, [v.value for v in own.trainable_variables])

    outputs, gradients = graph(images)
    after = [np.array(variable.numpy()) for variable in own.non_trainable_variables]
    for variable, value in zip(own.variables, before, strict=True):
        variable.assign(value)
    return outputs, gradients, after, graph.get_concrete_function(images).graph


def assert_close(found, expected, rtol=1e-6):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(tf.cast(x, "float64")) for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * max(np.abs(other).max(), 1e-12))


def num_convolutions(graph):
    return sum(op.type in ("Conv2D", "DepthwiseConv2dNative") for op in graph.get_operations())


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("efficientnet_lite0", "frozen_batch_norm"),
        pytest.param("resnet50", "batch_norm", marks=pytest.mark.slow),
    ],
)
def test_outputs_gradients_and_statistics_are_those_of_the_network(name, norm, monkeypatch):
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 2, 1))
    keras.utils.set_random_seed(0)
    backbone = build_backbone(Config(backbone=BackboneConfig(name=name, norm=norm))).model
    again = rematerialized(backbone)
    names = [variable.path for variable in backbone.variables]
    expected, found = step(backbone, backbone, IMAGES), step(again, backbone, IMAGES)
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert_close(one, other)
    if norm == "batch_norm":
        moved = [np.abs(a - b).max() for a, b in zip(expected[2], backbone_state(backbone), strict=True)]
        assert max(moved) > 1e-3
    assert num_convolutions(found[3]) > 1.3 * num_convolutions(expected[3])
    assert [variable.path for variable in backbone.variables] == names
    assert_close(again(IMAGES), backbone(IMAGES))


def backbone_state(backbone):
    return [np.array(variable.numpy()) for variable in backbone.non_trainable_variables]


def small_network(*, is_shared=False):
    """Returns a network with a frozen layer, a dropout, a batch normalization and two outputs."""
    inputs = keras.Input([None, None, 3], name="images")
    x = keras.layers.Conv2D(4, 1, name="frozen", trainable=False)(inputs)
    conv = keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="first")
    first = keras.layers.Dropout(0.5, seed=1, name="dropout")(conv(x))
    x = keras.layers.Add(name="add")([first, conv(first) if is_shared else x])
    x = keras.layers.Conv2D(4, 1, activation="tanh", name="conv0")(x)
    x = keras.layers.BatchNormalization(momentum=0.5, name="norm")(x)
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 1, activation="tanh", name=f"conv{number}")(x)
    return keras.Model(inputs, [first, x], name="small")


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_dropout_drops_the_same_values_again_and_statistics_move_once(is_shared):
    network = small_network(is_shared=is_shared)
    start = [np.array(variable.numpy()) for variable in network.non_trainable_variables]
    found, expected = step(rematerialized(network), network, IMAGES), step(network, network, IMAGES)
    assert (np.asarray(expected[0][0]) == 0).any()
    moved = [np.abs(a.astype(float) - b).max() for a, b in zip(expected[2], start, strict=True)]
    assert sum(distance > 1e-3 for distance in moved) == 3  # mean, variance, and the state of the dropout
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert_close(one, other)


def test_a_network_is_cut_where_one_tensor_goes_on_from_the_first_layer_that_trains():
    layers = rematerialized(small_network()).layers
    assert [layer.name for layer in layers[:2]] == ["images", "frozen"]
    parts = [[each.name for each in layer.network.layers[1:]] for layer in layers[2:]]
    assert parts == [["first", "dropout", "add"], ["conv0", "norm"], ["conv1", "conv2"]]
    assert all(isinstance(layer, Rematerialized) for layer in layers[2:])


def test_a_network_that_does_not_train_stays_as_it_is():
    network = small_network()
    network.trainable = False
    assert not [layer for layer in rematerialized(network).layers if isinstance(layer, Rematerialized)]


def test_a_layer_made_from_its_config_is_the_same():
    layer = Rematerialized(small_network())
    again = Rematerialized.from_config(layer.get_config())
    again.network.set_weights(layer.network.get_weights())
    assert_close(again(IMAGES), layer(IMAGES))


@pytest.fixture(scope="module")
def gradients_of(tiny_config, tiny_parts, tiny_batch):
    """A function of fields of `train` that returns the gradients of 16 images, and their loss totals."""
    rng = np.random.default_rng(0)
    batch = {name: np.repeat(value, 8, axis=0) for name, value in tiny_batch.items()}
    batch["images"] = batch["images"] * rng.uniform(0.3, 1, [16, 1, 1, 1]).astype("float32")
    batch["seeds"] = np.stack([np.arange(16), np.arange(16)], axis=1).astype("int32")

    def compute(**changes):
        recipe = replace(tiny_config.train, **changes)
        model = training_model(tiny_parts, replace(tiny_config, train=recipe))
        trainer = Trainer(model, networks=tiny_parts.named())
        trainer.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
        found, totals = tf.function(trainer.gradients, autograph=False)(batch)
        return [*found, totals]

    return compute


@pytest.fixture(scope="module")
def plain_gradients(gradients_of):
    return gradients_of()


@pytest.mark.slow
def test_a_step_of_the_model_is_the_same(gradients_of, plain_gradients):
    assert_close(gradients_of(rematerialize=True), plain_gradients)


def test_the_weights_keep_their_names_and_inference_its_model(tiny_config):
    plain = build_parts(tiny_config)
    config = replace(tiny_config, train=replace(tiny_config.train, rematerialize=True))
    parts = build_parts(config)
    training_model(parts, config)
    for name, part in parts.named().items():
        assert [v.path for v in part.variables] == [v.path for v in plain.named()[name].variables]
        assert [layer.name for layer in part.layers] == [layer.name for layer in plain.named()[name].layers]
