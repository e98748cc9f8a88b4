"""Tests of every architecture: the model is built, trained for a step, saved, loaded and run."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    CascadeConfig,
    Config,
    FpnConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    RoiAlignConfig,
    RpnConfig,
)
from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.structures import Category
from mask_rcnn.weights import load_weights, save_weights

CATEGORIES = tuple(Category(number, name) for number, name in enumerate(("ant", "bee", "cow"), start=1))
ONE_MAP = {"fpn": None, "anchors": AnchorConfig(sizes=(8, 16, 32), strides=(16,))}
FIRST_BLOCKS = (1, 1, 1, 1)  # blocks per stage, instead of 3, 4, 6, 3
BOX_HEAD = BoxHeadConfig(dense_units=(16,), samples=16, max_detections=4)
ONE_CONV = {"convs": 1, "dense_units": (16,)}


def backbone(name="resnet50", **fields):
    return {"backbone": BackboneConfig(name=name, **fields)}


def heads(norm="none", **fields):
    """Returns a box head and a mask head with 32 channels."""
    box = replace(BOX_HEAD, norm=norm, conv_channels=32, **ONE_CONV, **fields)
    return {"box_head": box, "mask_head": MaskHeadConfig(convs=1, channels=32, norm=norm)}


C4_HEADS = {
    "box_head": replace(BOX_HEAD, pool_size=14, average_pool=True, dense_units=()),
    "mask_head": MaskHeadConfig(convs=0, channels=16),
}
ARCHITECTURES = {
    "C4": {**backbone(last_stage=4, stride_in_1x1=True), **ONE_MAP, **C4_HEADS},
    "C5": {**backbone(), **ONE_MAP, "anchors": AnchorConfig(sizes=(8, 16, 32), strides=(32,))},
    "DC5": {**backbone(dilated_c5=True), **ONE_MAP},
    "ResNeXt": backbone("resnext50_32x4d"),
    "ResNeXt-DC5": {**backbone("resnext50_32x4d", dilated_c5=True), **ONE_MAP},
    "GroupNorm": {
        **backbone(norm="group_norm", frozen_stages=0),
        "fpn": FpnConfig(channels=32, norm="group_norm"),
        **heads("group_norm"),
    },
    "torchvision v2": {
        **backbone(norm="batch_norm"),
        "fpn": FpnConfig(channels=16, norm="batch_norm"),
        "rpn": RpnConfig(channels=16, convs=2, samples=32),
        **heads("batch_norm"),
    },
    "sync batch norm, matterport's stem": backbone(norm="sync_batch_norm", stem_pool_padding="same"),
    "cascade": {**heads(class_agnostic=True), "cascade": CascadeConfig(), **backbone("efficientnet_lite0")},
    "class-agnostic, GIoU": {
        **backbone("efficientnet_lite0"),
        "rpn": RpnConfig(channels=16, box_loss="giou", clamp_deltas=False, samples=32),
        "box_head": replace(BOX_HEAD, class_agnostic=True, box_loss="giou", clamp_deltas=False),
        "mask_head": MaskHeadConfig(convs=1, channels=16, class_agnostic=True),
    },
    "RoIPool": {**backbone("efficientnet_lite0"), "roi_align": RoiAlignConfig(method="roi_pool")},
    "RoIWarp": {
        **backbone("efficientnet_lite0"),
        "roi_align": RoiAlignConfig(method="roi_warp", pooling="max"),
    },
    "RoIAlign of own samples": {
        **backbone("efficientnet_lite0"),
        "roi_align": RoiAlignConfig(sample_points=(0.5, 0.5, 0.1, 0.9)),
    },
    "competing masks": {
        **backbone("efficientnet_lite0"),
        "mask_head": MaskHeadConfig(convs=1, channels=16, loss="softmax"),
    },
    "MLP masks": {
        **backbone("efficientnet_lite0"),
        "mask_head": MaskHeadConfig(pool_size=7, convs=0, dense_units=(16, 16)),
    },
    "competing MLP masks": {
        **backbone("efficientnet_lite0"),
        "mask_head": MaskHeadConfig(pool_size=7, convs=0, dense_units=(16,), loss="softmax"),
    },
    "masks and keypoints": {
        **backbone("efficientnet_lite0"),
        "keypoint_head": KeypointHeadConfig(names=("head", "tail"), flip_pairs=(), convs=1, channels=16),
    },
}


@pytest.fixture(autouse=True)
def one_block_a_stage(monkeypatch):
    for name in BLOCKS:
        monkeypatch.setitem(BLOCKS, name, FIRST_BLOCKS)


@pytest.fixture
def make_config(tiny_config):
    def make(**fields):
        rpn = replace(tiny_config.rpn, train_pre_nms=30, train_post_nms=20, pre_nms=30, post_nms=10)
        config = replace(tiny_config, rpn=rpn, box_head=BOX_HEAD)
        return replace(config, **fields)

    return make


@pytest.fixture
def batch(tiny_batch):
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.uniform(10, 40, [2, 4, 2, 2]), np.full([2, 4, 2, 1], 2.0)], axis=-1)
    return tiny_batch | {"gt_keypoints": points.astype("float32")}


def images_of(batch):
    return {name: batch[name] for name in ("images", "image_sizes")}


def inputs_of(model, batch):
    return {name: batch[name] for name in model.input}


def detections(parts, config, batch):
    outputs = inference_model(parts, config)(images_of(batch))
    return {name: np.asarray(value) for name, value in outputs.items()}


def train(model, batch):
    """Makes one step of gradient descent. Returns the losses, and the ids of the variables that changed."""
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        losses = model(inputs_of(model, batch), training=True)
        totals = [tf.unstack(tf.reduce_sum(value, axis=0)) for value in losses.values()]  # sum and count
        total = tf.add_n([tf.math.divide_no_nan(*each) for each in totals])
    gradients = tape.gradient(total, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(1e-6 * gradient)
    moved = {id(v) for v, gradient in zip(variables, gradients, strict=True) if np.any(gradient)}
    return losses, moved


@pytest.mark.parametrize("fields", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_an_architecture_is_trained_saved_loaded_and_run(fields, make_config, batch, tmp_path):
    config = make_config(**fields)
    parts = build_parts(config)
    losses, moved = train(training_model(parts, config), batch)
    for name, value in losses.items():
        assert np.isfinite(value).all(), name
    for name, part in parts.named().items():
        still = [v.path for v in part.trainable_variables if id(v) not in moved]
        assert not still, name

    save_weights(tmp_path / "a.weights.h5", parts, config, categories=CATEGORIES)
    again = build_parts(config, implementation="portable")
    load_weights(tmp_path / "a.weights.h5", again)
    expected = detections(parts, config, batch)
    for name, value in detections(again, config, batch).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-3, err_msg=name)


@pytest.mark.parametrize("fields", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_no_two_kernels_start_from_the_same_random_numbers(fields, make_config):
    parts = build_parts(make_config(**fields)).named()
    starts = {}  # by the ratios of the first values, which do not depend on standard deviation and shape
    for name, part in parts.items():
        for variable in part.weights:
            first = np.ravel(variable)[:4].astype("float64")
            if np.ptp(first) > 0:  # excludes biases and gammas
                starts.setdefault(tuple(np.round(first[1:] / first[0], 4)), []).append(
                    f"{name}/{variable.path}"
                )
    assert len(starts) > 10
    assert not [names for names in starts.values() if len(names) > 1]


def described(parts, config, batch):
    outputs = inference_model(parts, config, intermediates=True)(images_of(batch))
    return {name: tuple(x.shape) for name, x in outputs.items() if not isinstance(x, list)}, outputs


def test_c4_pools_from_c4_and_applies_the_fifth_stage_to_each_roi(make_config, batch):
    config = make_config(**ARCHITECTURES["C4"])
    parts = build_parts(config)
    assert list(parts.named()) == ["backbone", "rpn_head", "roi_stage", "box_head", "mask_head"]
    assert parts.roi_stage.layers[1].name.startswith("stage5_block0_")
    shapes, outputs = described(parts, config, batch)
    assert shapes["C4"] == (2, 4, 6, 1024)
    assert not shapes.keys() & {"C5", "P2", "P6"}
    assert shapes["box_pooled"] == (2 * 10, 14, 14, 1024)
    assert parts.box_head.input_shape == (None, 7, 7, 2048)
    assert shapes["masks"] == (2, 4, 14, 14)
    assert [x.shape for x in outputs["rpn_logits"]] == [(2, 4, 6, 9)]  # three sizes times three ratios
    anchors = np.asarray(outputs["anchors"][0])
    assert anchors.shape == (4 * 6 * 9, 4)
    sides = np.sqrt(np.prod(anchors[:9, 2:] - anchors[:9, :2], axis=-1))
    np.testing.assert_allclose(sides, [8] * 3 + [16] * 3 + [32] * 3, rtol=1e-6)
    ratios = (anchors[:9, 2] - anchors[:9, 0]) / (anchors[:9, 3] - anchors[:9, 1])
    np.testing.assert_allclose(ratios, [0.5, 1, 2] * 3, rtol=1e-5)


@pytest.mark.parametrize(("name", "stride"), [("C5", 32), ("DC5", 16)])
def test_a_dilated_c5_keeps_the_stride_of_c4(name, stride, make_config, batch):
    config = make_config(**ARCHITECTURES[name])
    parts = build_parts(config)
    shapes, _ = described(parts, config, batch)
    assert shapes["C5"] == (2, 64 // stride, 96 // stride, 2048)
    assert shapes["masks"] == (2, 4, 28, 28)


def test_dilation_changes_no_weight(make_config):
    plain, dilated = (build_parts(make_config(**ARCHITECTURES[name])).backbone for name in ("C5", "DC5"))
    assert [v.path for v in plain.weights] == [v.path for v in dilated.weights]
    assert [v.shape for v in plain.weights] == [v.shape for v in dilated.weights]


def test_the_heads_of_a_cascade_have_losses_and_weights_of_their_own(make_config, batch):
    config = make_config(**ARCHITECTURES["cascade"])
    parts = build_parts(config)
    assert {"box_head", "box_head2", "box_head3"} <= parts.named().keys()
    stages = ("class_loss", "box_loss", "class2_loss", "box2_loss", "class3_loss", "box3_loss")
    assert set(stages) < training_model(parts, config).output.keys()
    shapes, outputs = described(parts, config, batch)
    assert shapes["box_deltas"] == shapes["box_deltas3"] == (20, 4)
    probabilities = [tf.nn.softmax(outputs[f"class_logits{number}"]) for number in ("", "2", "3")]
    np.testing.assert_allclose(tf.nn.softmax(outputs["mean_logits"]), sum(probabilities) / 3, rtol=1e-4)


def test_a_cascade_of_heads_that_move_nothing_is_one_head(make_config, batch):
    fields = {**ARCHITECTURES["cascade"], "mask_head": None}
    config = make_config(**fields)
    alone = replace(config, cascade=None)
    parts = build_parts(config)
    for head in (parts.box_head, *parts.cascade):
        head.get_layer("deltas").kernel.assign(np.zeros_like(head.get_layer("deltas").kernel))
        for mine, first in zip(head.weights, parts.box_head.weights, strict=True):
            mine.assign(first)
    expected = detections(replace(parts, cascade=()), alone, batch)
    assert expected["class_ids"].any()
    for name, value in detections(parts, config, batch).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-3, err_msg=name)


def test_what_a_cascade_shares_moves_by_the_mean_of_its_heads(make_config, batch):
    """With equal heads that do not move boxes, and equal IoUs and weights, the three losses are equal."""
    cascade = CascadeConfig(positive_ious=(0.5, 0.5, 0.5), delta_scales=(1.0, 1.0, 1.0))
    config = make_config(**{**ARCHITECTURES["cascade"], "mask_head": None, "cascade": cascade})
    parts = build_parts(config)
    for head in parts.cascade:
        for mine, first in zip(head.weights, parts.box_head.weights, strict=True):
            mine.assign(first)
    for head in (parts.box_head, *parts.cascade):
        head.get_layer("deltas").kernel.assign(np.zeros_like(head.get_layer("deltas").kernel))

    def gradients(model, suffixes):
        lateral = parts.fpn.get_layer("output2").kernel
        hidden = parts.box_head.get_layer("fc1").kernel
        with tf.GradientTape() as tape:
            losses = model(inputs_of(model, batch), training=True)
            total = tf.add_n([tf.reduce_sum(losses[f"class{suffix}_loss"][:, 0]) for suffix in suffixes])
        return tape.gradient(total, [lateral.value, hidden.value])

    three = gradients(training_model(parts, config), ("", "2", "3"))
    alone = gradients(training_model(replace(parts, cascade=()), replace(config, cascade=None)), ("",))
    for mine, expected in zip(three, alone, strict=True):
        largest = np.abs(expected).max()
        assert largest > 0
        np.testing.assert_allclose(mine, expected, atol=1e-4 * largest)


def test_a_cascade_needs_boxes_for_all_classes():
    with pytest.raises(ValueError, match="class_agnostic.*Received: class_agnostic=False"):
        Config(cascade=CascadeConfig())


def test_only_a_resnet_has_a_fifth_stage_to_put_elsewhere():
    with pytest.raises(ValueError, match="Only a ResNet.*Received: name='efficientnet_lite0', last_stage=4"):
        BackboneConfig(name="efficientnet_lite0", last_stage=4)
    with pytest.raises(ValueError, match="Received: last_stage=4, dilated_c5=True"):
        BackboneConfig(last_stage=4, dilated_c5=True)


def test_statistics_of_heads_follow_the_batches_that_train_and_no_others(make_config, batch):
    config = make_config(**ARCHITECTURES["torchvision v2"])
    parts = build_parts(config)
    layers = [parts.fpn.get_layer("output2")]
    layers += [head.get_layer("conv1") for head in (parts.box_head, parts.heads["mask_head"])]
    means = [layer.norm.moving_mean for layer in layers]
    model = training_model(parts, config)
    model(inputs_of(model, batch))
    assert not np.any([np.any(mean) for mean in means])
    model(inputs_of(model, batch), training=True)
    assert all(np.any(mean) for mean in means)
