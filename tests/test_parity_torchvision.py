"""Our model with torchvision's weights and conventions against what torchvision computed, stage by stage.

The fixture and what agreement means: `../shared/parity/README.md`; the peer computed in float64.
"""

import json
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.data.images import read_image
from mask_rcnn.model import build_parts, inference_model
from mask_rcnn.model_zoo import torchvision
from mask_rcnn.model_zoo.convert import convert, swap_xy
from mask_rcnn.predict import Predictor
from mask_rcnn.structures import Category

PARITY = pathlib.Path(__file__).parent / "parity"
sys.path.insert(0, str(PARITY))
from parity_weights import load_state_dict  # noqa: E402

NAME = "maskrcnn_resnet50_fpn"
LEVELS = ("P2", "P3", "P4", "P5", "P6")
XYXY = [1, 0, 3, 2]  # turns yxyx into xyxy and back
SCORE_THRESHOLD = 0.05


class Run:
    """The fixture's image through our model, in one precision."""

    def __init__(self, precision):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        try:
            config = torchvision.maskrcnn_resnet50_fpn()
            self.parts = build_parts(config)
            state_dict = load_state_dict(PARITY / f"{NAME}.weights.npz")
            convert(self.parts, state_dict, torchvision.TABLE, torchvision.IGNORED)
            model = inference_model(self.parts, config, intermediates=True)
            predictor = Predictor(self.parts, config, [Category(i, f"{i}") for i in range(1, 91)])
        finally:
            keras.config.set_dtype_policy(before)
        image = read_image(PARITY / "image_427x640.png")
        batch, resize = predictor.preprocess(image)
        if precision == "float64":
            batch["images"] = tf.constant(resize_in_float64(image, resize.resized, batch["images"].shape))
        self.outputs = {
            name: [x.numpy() for x in value] if isinstance(value, list) else value.numpy()
            for name, value in model(batch).items()
        }
        final = {name: tf.constant(self.outputs[name]) for name in ("boxes", "scores", "class_ids", "masks")}
        self.detections = predictor.postprocess(final, resize)


def resize_in_float64(image, size, padded_shape):
    """Bilinear at pixel centres, by two matrices; the peer began with float32 pixels / 255."""

    def axis(inputs, outputs):
        position = np.clip((np.arange(outputs) + 0.5) * inputs / outputs - 0.5, 0, inputs - 1)
        low = np.floor(position).astype(int)
        matrix = np.zeros((outputs, inputs))
        matrix[np.arange(outputs), low] += 1 - (position - low)
        matrix[np.arange(outputs), np.minimum(low + 1, inputs - 1)] += position - low
        return matrix

    pixels = (image.astype("float32") / np.float32(255)).astype("float64") * 255
    rows = np.tensordot(axis(image.shape[0], size[0]), pixels, 1)  # [H', W, 3]
    resized = np.tensordot(rows, axis(image.shape[1], size[1]), (1, 1)).transpose(0, 2, 1)
    padded = np.zeros(padded_shape)
    padded[0, : size[0], : size[1]] = resized
    return padded


@pytest.fixture(scope="module")
def peer():
    with np.load(PARITY / f"{NAME}.outputs.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module", params=["float32", "float64"])
def run(request):
    return Run(request.param)


@pytest.fixture(scope="module")
def exact(run):
    """Whether rounding is out of the way, so that any wrong convention shows."""
    return run.outputs["C5"].dtype == np.float64


@pytest.fixture(scope="module")
def tolerance(exact):
    """Of the largest value of a map."""
    return 1e-6 if exact else 5e-4


@pytest.fixture(scope="module")
def head_tolerance(exact):
    """Of the largest value of what a head makes of the peer's own features."""
    return 1e-6 if exact else 1e-5


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


def channels_first(features):
    return features[0].transpose(2, 0, 1)


def test_the_fixture_is_of_the_conventions_that_the_preset_stands_for(peer):
    meta = json.loads(str(peer["meta"]))
    assert meta["peer"] == "torchvision"
    assert meta["score_threshold"] == SCORE_THRESHOLD


def test_the_resized_and_normalised_input_agrees(run, peer):
    crop = channels_first(run.outputs["normalized"])[:, 64:96, 64:96]
    assert run.outputs["normalized"].shape[1:3] == tuple(peer["input.shape"][1:])
    assert np.abs(crop - peer["input.crop"]).max() <= 1e-5


@pytest.mark.parametrize("name", ["C2", "C3", "C4", "C5", *LEVELS])
def test_maps_agree(run, peer, tolerance, name):
    features, stride = channels_first(run.outputs[name]), int(peer[f"{name}.stride"])
    assert features.shape == tuple(peer[f"{name}.shape"])
    assert relative_error(features[:, ::stride, ::stride], peer[name]) <= tolerance
    limit = tolerance * np.abs(peer[name]).max()  # of the whole map, which the subsampled one can't show
    assert np.abs(features.mean((1, 2)) - peer[f"{name}.mean"]).max() <= limit
    assert np.abs(features.std((1, 2), ddof=1) - peer[f"{name}.std"]).max() <= limit


@pytest.mark.parametrize("level", range(5))
def test_rpn_maps_agree(run, peer, tolerance, level):
    name = LEVELS[level]
    stride = int(peer[f"rpn.{name}.stride"])
    logits = run.outputs["rpn_logits"][level][0, ::stride, ::stride]
    deltas = run.outputs["rpn_deltas"][level][0, ::stride, ::stride]
    deltas = np.moveaxis(swap_xy(np.moveaxis(deltas, -1, 0)), 0, -1)
    assert relative_error(logits, peer[f"rpn_logits.{name}"]) <= tolerance
    assert relative_error(deltas, peer[f"rpn_deltas.{name}"]) <= tolerance


@pytest.mark.parametrize("level", range(5))
def test_anchors_agree(run, peer, level):
    anchors, name = run.outputs["anchors"][level][:, XYXY], LEVELS[level]
    assert len(anchors) == int(peer[f"anchors.{name}.count"])
    np.testing.assert_allclose(anchors[:12], peer[f"anchors.{name}.first"], atol=1e-3)
    np.testing.assert_allclose(anchors[-12:], peer[f"anchors.{name}.last"], atol=1e-3)
    np.testing.assert_allclose(anchors.sum(0, dtype="float64"), peer[f"anchors.{name}.sum"], rtol=1e-7)


def test_proposals_agree_as_a_set(run, peer, exact):
    ours, theirs = run.outputs["proposals"][0][:, XYXY], peer["proposals"]
    distance = np.abs(ours[:, None] - theirs[None]).max(-1)  # [ours, theirs]
    limit, share = (0.01, 0.99) if exact else (1.5, 0.95)
    assert (distance.min(0) <= limit).mean() >= share
    assert (distance.min(1) <= limit).mean() >= share


def test_the_box_head_agrees_on_the_peers_features(run, peer, head_tolerance):
    logits, deltas = run.parts.box_head(peer["box_pooled"].transpose(0, 2, 3, 1))
    assert relative_error(logits.numpy(), peer["pooled.class_logits"]) <= head_tolerance
    assert relative_error(swap_xy(deltas.numpy().T).T, peer["pooled.box_deltas"]) <= head_tolerance


def test_the_mask_head_agrees_on_the_peers_features(run, peer, head_tolerance):
    logits = run.parts.mask_head([peer["mask_pooled"].transpose(0, 2, 3, 1), peer["labels"][:2]])
    assert relative_error(logits.numpy(), peer["mask_logits"][:2]) <= head_tolerance


def test_detections_agree(run, peer):
    found = run.detections
    matches = match_detections(found, peer)
    unsure = [i for i in range(len(peer["scores"])) if peer["scores"][i] < SCORE_THRESHOLD + 0.02]
    assert set(range(len(peer["scores"]))) - set(matches) <= set(unsure)
    extra = set(range(len(found))) - set(matches.values())
    assert all(found.scores[j] < SCORE_THRESHOLD + 0.02 for j in extra)
    assert len(matches) >= 55


def test_pasted_masks_agree(run, peer, exact):
    # In float32 a corner that moves by 0.05 px can cross a whole pixel, to which torchvision cuts boxes:
    # the noisy masks of random weights then move by that pixel (torchvision itself in float32: 2 of 60).
    different = []
    matches = match_detections(run.detections, peer)
    for i, j in matches.items():
        theirs = np.unpackbits(peer["masks.packed"][i], axis=-1, count=640).astype(bool)
        ours = run.detections.full_mask(j)
        pixels, union = (ours != theirs).sum(), (ours | theirs).sum()
        if pixels > 8 and pixels > 0.04 * union:
            different.append(i)
    assert len(different) <= (0 if exact else 0.1 * len(matches))


def match_detections(found, peer):
    """Returns `{theirs: ours}` of the same class within 1.5 px and 0.02 of the score, each used once."""
    matches = {}
    for i, (box, score, label) in enumerate(zip(peer["boxes"], peer["scores"], peer["labels"], strict=True)):
        fits = (
            (found.class_ids == label)
            & (np.abs(found.boxes[:, XYXY] - box).max(-1) <= 1.5)
            & (np.abs(found.scores - score) <= 0.02)
        )
        free = [j for j in np.flatnonzero(fits) if j not in matches.values()]
        if free:
            matches[i] = free[0]
    return matches
