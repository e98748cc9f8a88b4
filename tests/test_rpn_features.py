"""Tests of an RPN with features of its own (section 3.1.1): weights, initial values, and training."""

import re
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from four_convs import FOUR_CONVS
from tiny_model import spread_scores

from mask_rcnn.backbones import BACKBONES, build_backbone
from mask_rcnn.benchmark.package_model import stages_of
from mask_rcnn.config import AnchorConfig, BackboneConfig, BoxHeadConfig, Config, RpnConfig
from mask_rcnn.export.writers import lite_quantize
from mask_rcnn.layers.rematerialize import Rematerialized
from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.structures import Category
from mask_rcnn.training.initial_weights import initialize, load_detector
from mask_rcnn.training.memory_estimate import image_bytes
from mask_rcnn.weights import save_weights

CATEGORIES = tuple(Category(number, name) for number, name in enumerate(("ant", "bee", "cow"), start=1))
OF_RPN, OF_HEADS = ("rpn_backbone", "rpn_fpn", "rpn_head"), ("backbone", "fpn", "box_head", "mask_head")


def with_own_features(config, **fields):
    return replace(config, rpn=replace(config.rpn, shared_features=False), **fields)


@pytest.fixture(scope="module")
def shared_config(tiny_config):
    return replace(tiny_config, backbone=FOUR_CONVS)


@pytest.fixture(scope="module")
def config(shared_config):
    return with_own_features(shared_config)


@pytest.fixture(scope="module")
def parts(config):
    """Networks with random weights. Do not modify them."""
    return build_parts(config)


def weights_of(network):
    return [variable.numpy() for variable in network.weights]


def assert_equal(network, other):
    for one, another in zip(weights_of(network), weights_of(other), strict=True):
        np.testing.assert_array_equal(one, another)


def test_no_loss_trains_what_belongs_to_the_other(parts, config, tiny_batch):
    assert list(parts.named()) == ["backbone", "fpn", *OF_RPN, "box_head", "mask_head"]
    assert [part.name for part in parts.named().values()] == list(parts.named())
    model = training_model(parts, config)
    variables = {name: [v.value for v in part.trainable_variables] for name, part in parts.named().items()}

    @tf.function(autograph=False)
    def gradients(batch):
        totals = {"rpn": 0.0, "heads": 0.0}
        with tf.GradientTape(persistent=True) as tape:
            for name, loss in model(batch, training=True).items():
                totals["rpn" if name.startswith("rpn_") else "heads"] += tf.reduce_sum(loss[:, 0])
        return {kind: tape.gradient(total, variables) for kind, total in totals.items()}

    found = gradients({name: tiny_batch[name] for name in model.input})
    for name in variables:
        own, other = ("rpn", "heads") if name in OF_RPN else ("heads", "rpn")
        assert any(each is not None and np.any(each) for each in found[own][name]), name
        assert found[other][name] and all(each is None for each in found[other][name]), name


def test_pretrained_weights_reach_both_backbones(config):
    config = replace(config, backbone=replace(config.backbone, weights="published"))
    parts = build_parts(config)
    before = weights_of(parts.rpn_backbone)
    assert not np.array_equal(before[0], parts.backbone.weights[0])
    initialize(parts, config, CATEGORIES)
    assert not np.array_equal(before[0], parts.rpn_backbone.weights[0])
    assert_equal(parts.rpn_backbone, parts.backbone)


def test_both_backbones_are_frozen_alike(config, parts):
    trained = [
        [variable.path for variable in each.trainable_variables]
        for each in (parts.backbone, parts.rpn_backbone)
    ]
    assert trained[0] == trained[1] and 0 < len(trained[0]) < len(parts.backbone.weights)


def test_the_backbone_of_a_detector_begins_both_of_another(tiny_config, tmp_path, monkeypatch):
    """The source's fifth stage is for RoIs, which the RPN does not have. Its RPN had features of its own."""
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))
    path = tmp_path / "c4.weights.h5"
    config = with_own_features(
        tiny_config,
        backbone=BackboneConfig(last_stage=4, weights=str(path)),
        fpn=None,
        anchors=AnchorConfig(sizes=(8, 16), strides=(16,)),
        box_head=BoxHeadConfig(pool_size=4, average_pool=True, dense_units=()),
        mask_head=None,
    )
    source, parts = build_parts(config), build_parts(config)
    save_weights(path, source, config, categories=CATEGORIES)
    initialize(parts, config, CATEGORIES)
    assert_equal(parts.backbone, source.backbone)
    assert_equal(parts.rpn_backbone, source.backbone)
    assert_equal(parts.roi_stage, source.roi_stage)


def test_weights_of_a_detector_with_shared_features_detect_the_same(
    config, shared_config, tiny_batch, tmp_path, capsys
):
    path = tmp_path / "shared.weights.h5"
    keras.utils.set_random_seed(5)
    shared, own = build_parts(shared_config), build_parts(config)
    spread_scores(shared)
    save_weights(path, shared, shared_config, categories=CATEGORIES)
    load_detector(own, config, CATEGORIES, weights=path)
    text = capsys.readouterr().out
    assert "starts from copies of the weights of the shared features: rpn_backbone, rpn_fpn." in text
    assert "3 classes: all weights." in text
    batch = {name: tiny_batch[name] for name in ("images", "image_sizes")}
    expected = inference_model(shared, shared_config)(batch)
    assert np.any(expected["class_ids"])
    for name, value in inference_model(own, config)(batch).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_a_shared_rpn_does_not_begin_with_a_head_for_other_features(
    config, parts, shared_config, tmp_path, capsys
):
    path = tmp_path / "own.weights.h5"
    save_weights(path, parts, config, categories=CATEGORIES)
    shared = build_parts(shared_config)
    before = weights_of(shared.rpn_head)
    load_detector(shared, shared_config, CATEGORIES, weights=path)
    text = capsys.readouterr().out
    assert "all weights but those of rpn_head." in text and "Left out: rpn_backbone, rpn_fpn." in text
    assert_equal(shared.fpn, parts.fpn)
    assert all(np.array_equal(one, other) for one, other in zip(before, shared.rpn_head.weights, strict=True))


def test_a_registered_backbone_must_build_another_network_each_time(shared_config, monkeypatch):
    same = build_backbone(shared_config)
    monkeypatch.setitem(BACKBONES._builders, "the_same", lambda config: same)
    config = with_own_features(shared_config, backbone=replace(FOUR_CONVS, name="the_same"))
    with pytest.raises(
        ValueError, match="Received: backbone.name='the_same', which returns the same weights"
    ):
        build_parts(config)


def test_two_frozen_backbones_without_an_fpn_are_an_error():
    fields = {"fpn": None, "anchors": AnchorConfig(sizes=(32,), strides=(32,))}
    with pytest.raises(ValueError, match="same features.*Received: shared_features=False, frozen_stages=5"):
        Config(rpn=RpnConfig(shared_features=False), backbone=BackboneConfig(frozen_stages=5), **fields)
    Config(rpn=RpnConfig(shared_features=False), backbone=BackboneConfig(frozen_stages=4), **fields)


def test_features_of_its_own_take_memory_and_are_rematerialized_too(config, parts, shared_config):
    shared = image_bytes(replace(parts, rpn_backbone=None, rpn_fpn=None), shared_config, (64, 96))
    own = image_bytes(parts, config, (64, 96))
    assert shared < own < 2 * shared
    model = training_model(parts, replace(config, train=replace(config.train, rematerialize=True)))
    for name in ("backbone", "rpn_backbone"):
        assert any(isinstance(layer, Rematerialized) for layer in model.get_layer(name).layers[-1].layers), (
            name
        )


def test_the_maps_of_both_are_intermediates_and_the_rpn_is_timed_with_its_own(config, parts, tiny_batch):
    model = inference_model(parts, config, intermediates=True)
    batch = {name: tf.constant(tiny_batch[name]) for name in ("images", "image_sizes")}
    outputs = model(batch)
    for name in ("C2", "C5", "P2", "P6"):
        assert outputs[name].shape == outputs[f"rpn_{name}"].shape
        assert not np.allclose(outputs[name], outputs[f"rpn_{name}"])
    inputs, results = stages_of([*model.input, *model.output])["RPN, proposals"]
    assert "rpn_P2" in inputs and "P2" not in inputs
    tensors, values = {**model.input, **model.output}, {**batch, **outputs}
    part = keras.Model([tensors[name] for name in inputs], [tensors[name] for name in results])
    proposals = part([values[name] for name in inputs])[0]
    np.testing.assert_allclose(proposals, outputs["proposals"], atol=1e-4)


@pytest.mark.parametrize("network", ["backbone", "rpn_backbone", "fpn", "rpn_fpn", "rpn_head", "box_head2"])
def test_the_convolutions_of_every_network_become_int8(network):
    name = f"mask_rcnn_1/{network}_1/conv0_1/convolution"
    assert re.search(lite_quantize.INT8_SCOPE, name) and not re.search(lite_quantize.LAST_SCOPE, name)


# Keras 3.15 saves variables of TensorFlow 2.21, whose `__array__` is that of NumPy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.slow
def test_a_saved_model_and_a_clone_have_both(config, tmp_path):
    from mask_rcnn import MaskRCNN

    model = MaskRCNN(config, CATEGORIES)
    model.save(tmp_path / "model.keras")
    for again in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert again.config == config and list(again.parts.named()) == list(model.parts.named())
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, part in model.parts.named().items():
        assert_equal(loaded.parts.named()[name], part)
