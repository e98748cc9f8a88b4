"""Tests that each system of the paper trains a step, and that its files and exports give the same results."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from four_convs import TWO_CONVS
from tiny_model import spread_scores

from mask_rcnn import MaskRCNN
from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    RoiAlignConfig,
)
from mask_rcnn.export.checks.compare import EXACT, compare
from mask_rcnn.export.runners import lite_runner, saved_model_runner
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.writers import lite, saved_model
from mask_rcnn.model import build_parts
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.weights import load_weights

FRAME = (64, 96)
MASKS = MaskHeadConfig(convs=1, channels=8, pool_size=7)
KEYPOINTS = KeypointHeadConfig(
    names=("head", "tail"), flip_pairs=(), convs=1, channels=8, pool_size=7, half_pixel=False
)


def pooled_by(method, **fields):
    return {"roi_align": RoiAlignConfig(method=method, **fields)}


def masks(**fields):
    return {"mask_head": replace(MASKS, **fields)}


def one_map(stride, **fields):
    """A ResNet without an FPN: all anchors on one map."""
    backbone = BackboneConfig(weights=None, **fields)
    return {"backbone": backbone, "fpn": None, "anchors": AnchorConfig(sizes=(8, 16, 32), strides=(stride,))}


SYSTEMS = {
    "RoIPool": pooled_by("roi_pool"),
    "RoIWarp max": pooled_by("roi_warp", pooling="max"),
    "RoIWarp average": pooled_by("roi_warp"),
    "RoIAlign max": pooled_by("roi_align", pooling="max"),
    "RoIAlign of own samples": pooled_by("roi_align", sample_points=(0.5, 0.5, 0.1, 0.9)),
    "softmax masks": masks(loss="softmax"),
    "MLP of two layers": masks(convs=0, dense_units=(8, 8)),
    "MLP of three layers": masks(convs=0, dense_units=(8, 8, 8)),
    "class-agnostic masks": masks(class_agnostic=True),
    "C4": {
        **one_map(16, last_stage=4),
        "box_head": BoxHeadConfig(average_pool=True, dense_units=(), samples=8, max_detections=4),
        "mask_head": replace(MASKS, convs=0),
    },
    "C5 of stride 32": one_map(32),
    "C5 of stride 32, RoIPool": one_map(32) | pooled_by("roi_pool"),
    "boxes only": {"mask_head": None},
    "keypoints only": {"mask_head": None, "keypoint_head": KEYPOINTS},
    "masks and keypoints": {"keypoint_head": KEYPOINTS},
    "RPN of its own": {},
}


@pytest.fixture(autouse=True)
def one_block_a_stage(monkeypatch):
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))


@pytest.fixture
def batch(tiny_batch):
    points = np.full([2, 4, 2, 3], 2.0, "float32")
    points[..., :2] = np.random.default_rng(3).uniform(10, 40, [2, 4, 2, 2])
    return tiny_batch | {"gt_keypoints": points}


def system(tiny_config, name):
    shared = name != "RPN of its own"
    rpn = replace(tiny_config.rpn, shared_features=shared, train_post_nms=20, post_nms=10)
    small = {
        "backbone": TWO_CONVS,
        "anchors": AnchorConfig(sizes=(16, 32), strides=(4, 8)),
        "rpn": rpn,
        "box_head": BoxHeadConfig(pool_size=3, dense_units=(16,), samples=8, max_detections=4),
        "mask_head": MASKS,
    }
    if name == "C4":  # with random weights its features are too large for the box head
        small["input"] = replace(tiny_config.input, std=(2000.0,) * 3)
    return replace(tiny_config, **small | SYSTEMS[name])


def trained(config, categories, batch):
    """Returns a `MaskRCNN` after one step that changed a weight of each network."""
    keras.utils.set_random_seed(4)
    model = MaskRCNN(config, categories)
    spread_scores(model.parts)
    before = {name: part.get_weights() for name, part in model.parts.named().items()}
    model.compile(optimizer=keras.optimizers.SGD(1e-5))
    logs = model.train_on_batch({name: batch[name] for name in model.training_model.input}, return_dict=True)
    assert np.isfinite(list(logs.values())).all(), logs
    for name, part in model.parts.named().items():
        pairs = zip(before[name], part.get_weights(), strict=True)
        assert any(np.any(one != other) for one, other in pairs), name
    return model


def assert_agree(expected, found, tolerance):
    result = compare(expected, found, image_size=FRAME, tolerance=tolerance)
    assert result["matched"] == result["expected"] == result["found"] > 1, result
    assert not result["moved"], result


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_trained_saved_loaded_and_exported(name, tiny_config, tiny_categories, batch, tmp_path):
    config = system(tiny_config, name)
    model = trained(config, tiny_categories, batch)
    image = np.random.default_rng(5).integers(0, 256, [*FRAME, 3]).astype("uint8")

    model.save_weights(tmp_path / "a.weights.h5")
    parts = build_parts(config, implementation="portable")
    load_weights(tmp_path / "a.weights.h5", parts)
    predictor = Predictor(parts, config, tiny_categories)
    expected = Runner(predictor)(image)
    assert_agree(Runner(model.predictor)(image), expected, lite.FLOAT32)

    saved_model.write(tmp_path / "saved_model", predictor)
    assert_agree(expected, saved_model_runner.Runner(tmp_path / "saved_model")(image), EXACT)

    framed = lite.FramedPredictor(
        parts, config, tiny_categories, metadata=lite.runner_metadata(config, FRAME)
    )
    lite.write_file(tmp_path / "model.tflite", framed)  # raises an error for ops that are not built in
    found = lite_runner.Runner(tmp_path / "model.tflite")(image)
    assert_agree(Runner(framed)(image), found, lite.FLOAT32)
