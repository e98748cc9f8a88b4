"""Tests of a complete Keypoint R-CNN, with and without masks: outputs, losses, files and detections."""

import copy
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn import model_zoo
from mask_rcnn.config import KeypointHeadConfig
from mask_rcnn.config.roi_heads import COCO_KEYPOINTS
from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.model_zoo.coco import COCO_PERSON
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.weights import save_weights

NAMES = ("head", "left_paw", "right_paw")
HEAD = KeypointHeadConfig(names=NAMES, flip_pairs=("left_paw:right_paw",), convs=2, channels=16)
CATEGORIES = (Category(1, "cat", NAMES, ((1, 2), (1, 3))), Category(2, "dog"), Category(5, "cow"))


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(tiny_config, keypoint_head=HEAD)


@pytest.fixture(scope="module")
def parts(tiny_parts, config):
    keras.utils.set_random_seed(3)
    head = build_parts(config).heads["keypoint_head"]
    head.get_layer("deconv").kernel.assign(head.get_layer("deconv").kernel * 1000)  # makes clear peaks
    return dataclasses.replace(tiny_parts, heads=tiny_parts.heads | {"keypoint_head": head})


@pytest.fixture(scope="module")
def batch(tiny_batch):
    gt_keypoints = np.zeros([2, 4, 3, 3], "float32")
    gt_keypoints[0, 0] = [[10, 20, 2], [30, 40, 1], [0, 0, 0]]
    gt_keypoints[1, 0] = [[15, 25, 2], [200, 25, 2], [40, 50, 2]]  # one is outside all boxes
    return tiny_batch | {"gt_keypoints": gt_keypoints}


@pytest.fixture(scope="module")
def predictor(parts, config):
    return Predictor(parts, config, CATEGORIES)


def images_of(batch):
    return {name: batch[name] for name in ("images", "image_sizes")}


def picture():
    return np.random.default_rng(0).integers(0, 256, [50, 80, 3]).astype("uint8")


def test_the_keypoint_loss_stands_beside_the_others(parts, config, batch):
    losses = training_model(parts, config)(batch)
    assert list(losses)[-2:] == ["mask_loss", "keypoint_loss"]
    assert losses["keypoint_loss"].shape == (2, 2)
    sums, counts = losses["keypoint_loss"].numpy().T
    assert (counts > 0).all() and (sums / counts > 1).all()


def test_images_without_known_keypoints_have_no_keypoint_loss(parts, config, batch):
    gt_keypoints = batch["gt_keypoints"].copy()
    gt_keypoints[1, ..., 2] = 0
    model = training_model(parts, config)
    before, after = model(batch), model(batch | {"gt_keypoints": gt_keypoints})
    assert after["keypoint_loss"][1].numpy().tolist() == [0, 0]
    np.testing.assert_allclose(after["keypoint_loss"][0], before["keypoint_loss"][0], rtol=1e-5)


def test_every_weight_of_the_branch_learns(parts, config, batch):
    model = training_model(parts, config)
    variables = parts.heads["keypoint_head"].trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(batch, training=True)["keypoint_loss"][:, 0])
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert len(variables) == 2 * (2 + 1)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), variable.path


def test_each_detection_has_its_heatmaps(parts, config, batch):
    outputs = inference_model(parts, config, intermediates=True)(images_of(batch))
    assert outputs["keypoint_heatmaps"].shape == (2, 8, 56, 56, 3)
    assert outputs["keypoint_pooled"].shape == (16, 14, 14, 16)
    again = parts.heads["keypoint_head"](outputs["keypoint_pooled"])
    np.testing.assert_allclose(outputs["keypoint_heatmaps"][1, 2], again[8 + 2], atol=1e-4)


def test_the_other_outputs_do_not_depend_on_the_branch(parts, config, tiny_parts, tiny_config, batch):
    with_branch = inference_model(parts, config)(images_of(batch))
    without = inference_model(tiny_parts, tiny_config)(images_of(batch))
    assert set(with_branch) - set(without) == {"keypoint_heatmaps"}
    for name, value in without.items():
        np.testing.assert_allclose(with_branch[name], value, atol=1e-4, err_msg=name)


def test_keypoints_need_no_masks(parts, config, batch):
    config = dataclasses.replace(config, mask_head=None)
    parts = dataclasses.replace(parts, heads={"keypoint_head": parts.heads["keypoint_head"]})
    losses = training_model(parts, config)({name: batch[name] for name in batch if name != "gt_masks"})
    assert "keypoint_loss" in losses and "mask_loss" not in losses
    detections = Predictor(parts, config, CATEGORIES).predict(picture())
    assert detections.keypoints.shape == (len(detections), 3, 3) and detections.masks is None


def test_keypoints_lie_in_their_boxes_in_the_pixels_of_the_image(predictor):
    detections = predictor.predict(picture())
    assert 0 < len(detections) == len(detections.keypoints)
    points, boxes = detections.keypoints[..., [1, 0]], detections.boxes[:, None]
    assert (points >= boxes[..., :2] - 1e-3).all() and (points <= boxes[..., 2:] + 1e-3).all()
    assert (detections.keypoints[..., 2] > 0).all()


def test_where_keypoints_are_numbers_of_pixels_their_centers_are_half_a_pixel_further(predictor, config):
    batch, resize = predictor.preprocess(picture())
    (outputs,) = predictor.detect_batch([batch])
    head = dataclasses.replace(HEAD, half_pixel=False)
    other = copy.copy(predictor)
    other.config = dataclasses.replace(config, keypoint_head=head)
    one, other = (each.postprocess(outputs, resize).keypoints for each in (predictor, other))
    np.testing.assert_allclose(other[..., :2], one[..., :2] + HALF_PIXEL, atol=1e-4)
    np.testing.assert_array_equal(other[..., 2], one[..., 2])


def test_a_file_carries_the_branch_and_the_skeleton(predictor, parts, config, tmp_path):
    save_weights(tmp_path / "a.weights.h5", parts, config, categories=CATEGORIES)
    loaded = Predictor.load(tmp_path / "a.weights.h5")
    assert loaded.categories == CATEGORIES
    assert loaded.config.keypoint_head == HEAD
    expected = predictor.predict(picture())
    np.testing.assert_allclose(loaded.predict(picture()).keypoints, expected.keypoints, atol=1e-3)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)  # Keras
def test_a_model_saved_by_keras_has_the_same_heatmaps(parts, config, batch, tmp_path):
    model = inference_model(parts, config)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(images_of(batch))
    expected = model(images_of(batch))
    np.testing.assert_allclose(again["keypoint_heatmaps"], expected["keypoint_heatmaps"], atol=1e-4)


def test_half_precision_gives_float32_heatmaps(config, batch):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        parts = build_parts(config)
        training, inference = training_model(parts, config), inference_model(parts, config)
    finally:
        keras.config.set_dtype_policy("float32")
    assert training(batch)["keypoint_loss"].dtype == tf.float32
    assert inference(images_of(batch))["keypoint_heatmaps"].dtype == tf.float32


def test_the_recipe_is_the_papers():
    config = model_zoo.config("keypoint_rcnn_resnet50_fpn")
    head = config.keypoint_head
    assert (head.convs, head.channels, head.pool_size, head.names) == (8, 512, 14, COCO_KEYPOINTS)
    assert config.num_classes == 1 and config.mask_head is None
    assert (min(config.input.train_short_sides), max(config.input.train_short_sides)) == (640, 800)
    assert (config.train.steps, config.train.milestones) == (90_000, (60_000, 80_000))


def test_cocos_person_has_the_keypoints_and_the_skeleton_of_its_json():
    (person,) = COCO_PERSON
    assert (person.id, person.name, person.keypoints) == (1, "person", COCO_KEYPOINTS)
    assert len(person.skeleton) == len(set(person.skeleton)) == 19
    connected = {number for pair in person.skeleton for number in pair}
    assert connected == set(range(1, 18))
