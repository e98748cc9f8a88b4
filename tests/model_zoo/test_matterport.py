"""Tests of matterport's h5 files against its stages in NumPy. The files are generated here."""

import dataclasses
import string
from types import SimpleNamespace

import matterport_numpy as theirs
import numpy as np
import pytest
from matterport_layers import BLOCKS, Layers, Sizes, model_layers, paths, write_keras2

from mask_rcnn.config import AnchorConfig, FpnConfig
from mask_rcnn.layers.roi_poolers import CropAndResize
from mask_rcnn.model import build_parts, inference_model
from mask_rcnn.model_zoo.convert import translate
from mask_rcnn.model_zoo.matterport import PRESETS, mask_rcnn_coco
from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.weights import assign, variables

PRESET = PRESETS["mask_rcnn_coco"]
SIDE, SIZES = 256, (16, 32, 64, 128, 256)
SMALL = Sizes(pyramid=24, rpn=32, units=48, masks=16, outputs=4)
PRE_NMS, POST_NMS, THRESHOLD = 600, 100, 0.4


def small_config():
    """Returns matterport's conventions for small images and heads, on a complete ResNet-50."""
    config = mask_rcnn_coco("resnet50")
    replace = dataclasses.replace
    return replace(
        config,
        num_classes=SMALL.outputs - 1,
        input=replace(
            config.input, short_side=192, train_short_sides=(192,), long_side=SIDE, padded_size=(SIDE, SIDE)
        ),
        fpn=FpnConfig(channels=SMALL.pyramid),
        anchors=AnchorConfig(sizes=SIZES, ratios=config.anchors.ratios),
        rpn=replace(config.rpn, channels=SMALL.rpn, pre_nms=PRE_NMS, post_nms=POST_NMS),
        box_head=replace(config.box_head, dense_units=(SMALL.units,) * 2, score_threshold=THRESHOLD),
        mask_head=replace(config.mask_head, channels=SMALL.masks),
    )


def scene():
    y, x = np.mgrid[:150, :200]
    waves = [np.sin(y / 9 + i) * np.cos(x / 13 + i) for i in range(3)]
    noise = np.random.default_rng(1).uniform(-30, 30, (150, 200, 3))
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype("uint8")


@pytest.fixture(scope="module")
def layers():
    arrays = model_layers(Layers(np.random.default_rng(0)), BLOCKS, SMALL)
    for name in ("rpn_conv_shared", "mrcnn_class_conv1"):  # removes the mean, which would dominate the scores
        arrays[f"{name}/kernel"] -= arrays[f"{name}/kernel"].mean((0, 1))
    return arrays


@pytest.fixture(scope="module")
def peer(layers):
    """Every stage for a scene of 150 x 200 pixels, which becomes 192 x 256 in the center of 256 x 256."""
    image = scene()
    images = np.pad(theirs.resized(image, (192, 256)), ((32, 32), (0, 0), (0, 0)))
    stages = theirs.backbone(images - [123.7, 116.8, 103.9], layers)
    levels = theirs.pyramid(stages, layers)
    probabilities, deltas = theirs.rpn(levels, layers)
    anchors = theirs.anchors(SIDE, SIZES)
    proposals = theirs.proposals(probabilities, deltas, anchors, PRE_NMS, POST_NMS)
    pooled = theirs.pooled(levels, proposals, SIDE, 7)
    log_probabilities = np.log(theirs.box_head(pooled, layers)[0])
    layers["mrcnn_class_logits/bias"] -= log_probabilities.mean(0).astype("float32")  # balances the classes
    class_probabilities, box_deltas = theirs.box_head(pooled, layers)
    window = theirs.normalized(np.array([32, 0, 224, 256]), (SIDE, SIDE))
    found = theirs.detections(proposals, class_probabilities, box_deltas, window, THRESHOLD)
    in_window = (found[0] - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)
    return SimpleNamespace(
        images=images,
        maps=dict(zip(("C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6"), stages + levels, strict=True)),
        rpn_probabilities=probabilities,
        rpn_deltas=deltas,
        anchors=anchors,
        proposals=proposals,
        pooled=pooled,
        class_probabilities=class_probabilities,
        box_deltas=box_deltas,
        boxes=theirs.pixels(in_window, image.shape[:2]),
        classes=found[1],
        scores=found[2],
        masks=theirs.masks(theirs.pooled(levels, found[0], SIDE, 14), found[1], layers),
    )


@pytest.fixture(scope="module")
def run(layers, peer, tmp_path_factory):
    """The same scene through this package's model, with the weights of an h5 file."""
    path = tmp_path_factory.mktemp("matterport") / "mask_rcnn.h5"
    write_keras2(path, layers)
    config = small_config()
    parts = build_parts(config)
    state_dict = PRESET.preprocess_state_dict(read_state_dict(path))
    assign(parts, translate(state_dict, PRESET.table, PRESET.ignored), path)
    predictor = Predictor(parts, config, [Category(i, f"{i}") for i in range(1, SMALL.outputs)])
    batch, _ = predictor.preprocess(scene())
    model = inference_model(parts, config, intermediates=True)
    return SimpleNamespace(
        parts=parts, batch=batch, outputs=model(batch), detections=predictor.predict(scene())
    )


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


def matches(ours, theirs, limit):
    """Returns the share of `theirs` that have one of `ours` within `limit`."""
    distance = np.abs(ours[:, None] - theirs[None]).max(-1)  # [ours, theirs]
    return (distance.min(0) <= limit).mean()


def test_the_image_is_resized_and_padded_as_theirs(run, peer):
    np.testing.assert_array_equal(run.batch["images"][0], peer.images)
    np.testing.assert_array_equal(run.batch["image_sizes"], [[192, 256]])
    padding = run.outputs["normalized"][0, :32].numpy()
    np.testing.assert_allclose(padding, np.broadcast_to([-123.7, -116.8, -103.9], padding.shape), rtol=1e-6)


@pytest.mark.parametrize("name", ["C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6"])
def test_maps_agree(run, peer, name):
    assert relative_error(run.outputs[name][0].numpy(), peer.maps[name]) <= 1e-4


def test_one_logit_is_their_softmax_and_deltas_have_their_scale(run, peer):
    logits = np.concatenate([x.numpy().ravel() for x in run.outputs["rpn_logits"]])
    deltas = np.concatenate([x.numpy().reshape(-1, 4) for x in run.outputs["rpn_deltas"]])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), peer.rpn_probabilities[:, 1], atol=1e-3)
    assert relative_error(deltas, peer.rpn_deltas * [0.1, 0.1, 0.2, 0.2]) <= 1e-3


def test_anchors_are_a_pixel_smaller_in_the_same_order(run, peer):
    anchors = np.concatenate([x.numpy() for x in run.outputs["anchors"]])
    np.testing.assert_allclose(anchors / (SIDE - 1), peer.anchors, atol=1e-6)


def test_proposals_of_all_levels_agree(run, peer):
    proposals = run.outputs["proposals"][0].numpy() / (SIDE - 1)
    assert proposals.shape == peer.proposals.shape
    assert matches(proposals, peer.proposals, 1e-3) >= 0.97
    assert matches(peer.proposals, proposals, 1e-3) >= 0.97


def test_pooled_features_agree_where_the_proposals_do(run, peer):
    ours = run.outputs["proposals"][0].numpy() / (SIDE - 1)
    nearest = np.abs(ours[:, None] - peer.proposals[None]).max(-1).argmin(0)
    distance = np.abs(ours[nearest] - peer.proposals).max(-1)
    pooled = run.outputs["box_pooled"].numpy()[nearest]
    error = np.abs(pooled - peer.pooled).max((1, 2, 3)) / np.abs(peer.pooled).max()
    assert (error[distance < 1e-5] <= 2e-3).all()
    assert (distance < 1e-5).mean() > 0.5


def test_the_box_head_agrees_on_their_features(run, peer):
    logits, deltas = (x.numpy() for x in run.parts.box_head(peer.pooled.astype("float32")))
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, peer.class_probabilities, atol=1e-4)
    assert relative_error(deltas.reshape(peer.box_deltas.shape), peer.box_deltas) <= 1e-5


def test_detections_agree_in_the_pixels_of_the_image(run, peer):
    found = run.detections
    np.testing.assert_array_equal(found.boxes, np.round(found.boxes))  # whole pixels
    ours = np.column_stack([found.boxes, 100 * found.class_ids, 100 * found.scores])
    expected = np.column_stack([peer.boxes, 100 * peer.classes, 100 * peer.scores])
    assert len(expected) > 40 and len(set(peer.classes)) == 3
    assert matches(ours, expected, 1.0) >= 0.95
    assert matches(expected, ours, 1.0) >= 0.95


def test_pasted_masks_agree(run, peer):
    found, compared = run.detections, 0
    for box, class_id, mask in zip(peer.boxes, peer.classes, peer.masks, strict=True):
        same = (found.boxes == box).all(axis=1) & (found.class_ids == class_id)
        if same.any():
            height, width = (box[2:] - box[:2]).astype(int)
            rows, columns = (theirs.resize_weights(28, side) for side in (height, width))
            expected = rows @ mask @ columns.T >= 0.5
            ours = found.masks[np.flatnonzero(same)[0]]
            assert ours.shape == expected.shape
            assert (ours != expected).mean() <= 0.02
            compared += 1
    assert compared >= 0.9 * len(peer.boxes)


def test_every_level_is_pooled_from_where_theirs_is():
    random = np.random.default_rng(0)
    levels = [random.normal(size=(1024 // 2**i, 1024 // 2**i, 2)) for i in (2, 3, 4, 5)]
    boxes = np.sort(random.uniform(0, 1, (60, 2, 2)) ** 2, axis=1).reshape(60, 4)
    pool = CropAndResize((4, 8, 16, 32), 7, {"epsilon": 0.0, "rounding": "nearest"})
    pooled = pool([x[None].astype("float32") for x in levels], (boxes * 1023).astype("float32")[None])
    np.testing.assert_allclose(pooled, theirs.pooled(levels, boxes, 1024, 7), atol=2e-3)


def test_every_layer_of_the_published_model_has_its_place():
    blocks = {**BLOCKS, "4": string.ascii_lowercase[:23]}  # ResNet-101
    state_dict = paths(model_layers(Layers(), blocks, Sizes()))
    arrays = translate(PRESET.preprocess_state_dict(state_dict), PRESET.table, PRESET.ignored)
    expected = variables(build_parts(PRESET.config()))
    assert {name: array.shape for name, array in arrays.items()} == {
        name: tuple(variable.shape) for name, variable in expected.items()
    }


@pytest.mark.parametrize(
    "path",
    [
        "rpn_model/rpn_conv_shared/kernel:0",
        "model_weights/rpn_model/rpn_model/rpn_conv_shared/kernel:0",  # of a whole saved model
        "rpn_conv_shared/kernel",  # of an .npz
    ],
)
def test_a_layer_is_known_however_its_group_is_nested(path):
    assert list(PRESET.preprocess_state_dict({path: np.ones(3)})) == ["rpn_conv_shared/kernel"]


def test_a_wrapped_layer_goes_by_the_name_of_its_wrapper():
    state_dict = PRESET.preprocess_state_dict({"mrcnn_mask_conv1/conv2d_7/kernel:0": np.ones(3)})
    assert list(state_dict) == ["mrcnn_mask_conv1/kernel"]


def test_what_cannot_be_folded_stays_for_the_error():
    state_dict = {"mrcnn_class_conv1/kernel": np.ones((7, 7, 2, 3)), "mrcnn_class_bn1/gamma": np.ones(3)}
    assert PRESET.preprocess_state_dict(state_dict).keys() == state_dict.keys()


def test_the_preset_is_the_published_model():
    config = PRESET.config()
    assert (config.backbone.name, config.num_classes) == ("resnet101", 80)
    assert [category.id for category in PRESET.categories[9:13]] == [10, 11, 13, 14]  # COCO's own ids
