"""Tests of the two models over one set of parts: what they share, and what must have no effect."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.ops.detection_ops import TENSORFLOW, DetectionOps

LOSSES = {"rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss"}
IMAGE_KEYS = ("images", "image_sizes")


@pytest.fixture(scope="module")
def training(tiny_parts, tiny_config):
    return training_model(tiny_parts, tiny_config)


@pytest.fixture(scope="module")
def inference(tiny_parts, tiny_config):
    return inference_model(tiny_parts, tiny_config)


@pytest.fixture(scope="module")
def detections(inference, tiny_batch):
    return to_numpy(inference(images_of(tiny_batch)))


@pytest.fixture(scope="module")
def losses(training, tiny_batch):
    return to_numpy(training(tiny_batch))


def to_numpy(outputs):
    return {name: np.asarray(value) for name, value in outputs.items()}


def images_of(batch):
    return {name: batch[name] for name in IMAGE_KEYS}


def select(batch, *rows):
    """Returns the images `rows` of a batch."""
    return {name: value[list(rows)] for name, value in batch.items()}


def with_classes(batch, *class_ids):
    return batch | {"gt_class_ids": np.array(class_ids, "int32")}


def assert_close(actual, desired):
    assert actual.keys() == desired.keys()
    for name, value in desired.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_both_models_hold_the_weights_of_the_parts(training, inference, tiny_parts):
    expected = {id(v) for part in tiny_parts.named().values() for v in part.weights}
    assert {id(v) for v in training.weights} == expected
    assert {id(v) for v in inference.weights} == expected


def test_the_parts_are_named(tiny_parts):
    assert list(tiny_parts.named()) == ["backbone", "fpn", "rpn_head", "box_head", "mask_head"]
    assert [part.name for part in tiny_parts.named().values()] == list(tiny_parts.named())


def test_each_image_has_its_losses(losses):
    assert losses.keys() == LOSSES
    for value in losses.values():
        assert value.shape == (2, 2) and value.dtype == "float32"
        assert (value > 0).all() and np.isfinite(value).all()


def test_detections_have_fixed_sizes_and_types(detections):
    described = {name: (value.shape, str(value.dtype)) for name, value in detections.items()}
    assert described == {
        "boxes": ((2, 8, 4), "float32"),
        "scores": ((2, 8), "float32"),
        "class_ids": ((2, 8), "int32"),
        "masks": ((2, 8, 28, 28), "float32"),
    }


def test_detections_are_inside_their_image_best_first(detections, tiny_batch):
    boxes, scores, class_ids = (detections[name] for name in ("boxes", "scores", "class_ids"))
    assert (class_ids[:, 0] > 0).all()  # there are detections to compare
    far = np.tile(tiny_batch["image_sizes"], 2)[:, None]
    assert (boxes >= 0).all() and (boxes <= far).all()
    assert (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)[class_ids > 0].all()
    assert (np.diff(scores) <= 0).all()
    assert (scores[class_ids > 0] > 0.05).all() and not scores[class_ids == 0].any()
    assert class_ids.max() <= 3
    assert (detections["masks"] >= 0).all() and (detections["masks"] <= 1).all()


def test_a_batch_of_two_images_equals_two_batches_of_one(inference, detections, tiny_batch):
    for image in range(2):
        alone = to_numpy(inference(images_of(select(tiny_batch, image))))
        assert_close(alone, select(detections, image))


def test_the_images_of_the_batch_are_unlike(detections):
    assert np.abs(detections["boxes"][0] - detections["boxes"][1]).max() > 1


def test_what_is_in_the_padding_does_not_matter(inference, detections, tiny_batch):
    images = tiny_batch["images"].copy()
    images[1, 50:], images[1, :, 80:] = 255, 77
    assert_close(to_numpy(inference(images_of(tiny_batch | {"images": images}))), detections)


def test_detections_are_the_same_in_a_graph(inference, detections, tiny_batch):
    assert_close(to_numpy(tf.function(inference)(images_of(tiny_batch))), detections)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)  # Keras
def test_a_model_saved_by_keras_detects_the_same(inference, detections, tiny_batch, tmp_path):
    inference.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(to_numpy(again(images_of(tiny_batch))), detections)


def test_losses_of_an_image_do_not_depend_on_its_batch(training, losses, tiny_batch):
    assert_close(to_numpy(training(select(tiny_batch, 1, 0))), select(losses, 1, 0))
    assert_close(to_numpy(training(select(tiny_batch, 1))), select(losses, 1))


def test_seeds_decide_which_samples_are_compared(training, losses, tiny_batch):
    assert_close(to_numpy(training(tiny_batch)), losses)
    other = to_numpy(training(tiny_batch | {"seeds": tiny_batch["seeds"] + [[0, 0], [0, 7]]}))
    for name in ("rpn_objectness_loss", "class_loss"):
        np.testing.assert_allclose(other[name][0], losses[name][0], rtol=1e-4)
        assert abs(other[name][1, 0] - losses[name][1, 0]) > 1e-4


def test_images_without_objects_have_no_box_and_no_mask_loss(training, losses, tiny_batch):
    batch = tiny_batch | {"gt_boxes": np.zeros([2, 4, 4], "float32")}
    found = to_numpy(training(with_classes(batch, [0] * 4, [0] * 4)))
    for name in ("rpn_box_loss", "box_loss", "mask_loss"):
        np.testing.assert_array_equal(found[name][:, 0], [0, 0])
    for name in ("rpn_objectness_loss", "class_loss"):
        assert np.isfinite(found[name]).all() and (found[name] > 0).all()


def test_an_image_inside_a_crowd_teaches_nothing(training, losses, tiny_batch):
    gt_boxes = tiny_batch["gt_boxes"].copy()
    gt_boxes[1] = [[-300, -300, 400, 400], *np.zeros([3, 4])]  # all anchors, also those across the border
    batch = with_classes(tiny_batch | {"gt_boxes": gt_boxes}, [1, 3, 0, 0], [-1, 0, 0, 0])
    found = to_numpy(training(batch))
    for name in LOSSES:
        assert found[name][1].tolist() == [0, 0]
        np.testing.assert_allclose(found[name][0], losses[name][0], rtol=1e-4)


def test_a_crowd_far_from_all_else_changes_nothing(training, losses, tiny_batch):
    gt_boxes = tiny_batch["gt_boxes"].copy()
    gt_boxes[:, 2] = [1000, 1000, 1010, 1010]
    class_ids = tiny_batch["gt_class_ids"].copy()
    gt_boxes[1, 1:3] = gt_boxes[1, [2, 1]]
    class_ids[0, 2] = class_ids[1, 1] = -1
    assert_close(to_numpy(training(with_classes(tiny_batch | {"gt_boxes": gt_boxes}, *class_ids))), losses)


def test_an_image_may_have_more_ignored_regions_than_objects(training, losses, tiny_batch):
    far = np.tile(np.array([1000, 1000, 1010, 1010], "float32"), (2, 9, 1))
    gt_boxes = np.concatenate([tiny_batch["gt_boxes"], np.zeros_like(far)], axis=1)
    gt_boxes[0, 2:11], gt_boxes[1, 1:10] = far
    class_ids = [[1, 3, *[-1] * 9, 0, 0], [2, *[-1] * 9, 0, 0, 0]]
    found = training(with_classes(tiny_batch | {"gt_boxes": gt_boxes}, *class_ids))
    assert_close(to_numpy(found), losses)


def test_every_part_learns(training, tiny_parts, tiny_batch):
    with tf.GradientTape() as tape:
        outputs = training(tiny_batch, training=True)
        total = tf.add_n([tf.reduce_sum(value) for value in outputs.values()])
    gradients = tape.gradient(total, [v.value for v in training.trainable_variables])
    assert np.isfinite([tf.reduce_sum(tf.abs(gradient)) for gradient in gradients]).all()
    learning = {id(v) for v, g in zip(training.trainable_variables, gradients, strict=True) if np.any(g)}
    for part in tiny_parts.named().values():
        still = [v.path for v in part.trainable_variables if id(v) not in learning]
        assert not still, part.name


def test_intermediates_are_named(tiny_parts, tiny_config, tiny_batch, detections):
    outputs = inference_model(tiny_parts, tiny_config, intermediates=True)(images_of(tiny_batch))
    assert_close({name: np.asarray(outputs[name]) for name in detections}, detections)
    lists = {
        name: [tuple(x.shape) for x in outputs[name]] for name in ("rpn_logits", "rpn_deltas", "anchors")
    }
    sides = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert lists == {
        "rpn_logits": [(2, *side, 3) for side in sides],
        "rpn_deltas": [(2, *side, 12) for side in sides],
        "anchors": [(height * width * 3, 4) for height, width in sides],
    }
    arrays = {name: value.shape for name, value in outputs.items() if name not in lists | detections.keys()}
    assert arrays == {
        "normalized": (2, 64, 96, 3),
        **{f"C{i + 2}": (2, *sides[i], channels) for i, channels in enumerate((24, 40, 112, 320))},
        **{f"P{i + 2}": (2, *sides[i], 16) for i in range(5)},
        "proposals": (2, 30, 4),
        "proposal_scores": (2, 30),
        "proposals_valid": (2, 30),
        "box_pooled": (60, 7, 7, 16),
        "class_logits": (60, 4),
        "box_deltas": (60, 16),
        "mask_pooled": (16, 14, 14, 16),
        "mask_logits": (16, 28, 28),
    }


def test_without_a_mask_head_it_is_a_faster_rcnn(tiny_config, tiny_batch):
    config = dataclasses.replace(tiny_config, mask_head=None)
    parts = build_parts(config)
    assert not parts.heads
    assert "mask_head" not in parts.named()
    batch = {name: value for name, value in tiny_batch.items() if name != "gt_masks"}
    assert set(training_model(parts, config)(batch)) == LOSSES - {"mask_loss"}
    assert set(inference_model(parts, config)(images_of(batch))) == {"boxes", "scores", "class_ids"}


def test_inclusive_boxes_and_images_in_the_middle_train_and_detect(tiny_parts, tiny_config, tiny_batch):
    replace = dataclasses.replace
    config = replace(
        tiny_config,
        inclusive_boxes=True,
        input=replace(tiny_config.input, centered=True, padding="black"),
        rpn=replace(tiny_config.rpn, joint_levels=True, clamp_deltas=False, min_size=-1.0),
        roi_align=replace(tiny_config.roi_align, method="crop_and_resize", level_rounding="nearest"),
        box_head=replace(tiny_config.box_head, best_class_only=True, clamp_deltas=False),
    )
    batch = {name: value.copy() for name, value in tiny_batch.items()}
    batch["images"][1] = np.roll(tiny_batch["images"][1], (7, 8), (0, 1))  # 50 x 80 of 64 x 96
    batch["gt_boxes"][1, 0] += [7, 8, 7, 8]
    for value in to_numpy(training_model(tiny_parts, config)(batch)).values():
        assert value.shape == (2, 2) and np.isfinite(value).all()
    found = to_numpy(inference_model(tiny_parts, config)(images_of(batch)))
    real = found["class_ids"] > 0
    assert real.any(axis=1).all()
    assert not found["boxes"][~real].any()
    for boxes, window in zip(found["boxes"], [[0, 0, 64, 96], [7, 8, 57, 88]], strict=True):
        boxes = boxes[boxes.any(axis=1)]
        assert (boxes[:, :2] >= window[:2]).all() and (boxes[:, 2:] <= window[2:]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1 - 1e-4).all()  # a pixel at least


def test_an_image_with_fewer_anchors_than_samples_is_trained_on(tiny_parts, tiny_config, tiny_batch):
    rpn = dataclasses.replace(tiny_config.rpn, samples=4096)
    head = dataclasses.replace(tiny_config.box_head, samples=64)
    config = dataclasses.replace(tiny_config, rpn=rpn, box_head=head)
    for value in training_model(tiny_parts, config)(tiny_batch).values():
        assert np.isfinite(value).all()


def test_half_precision_keeps_boxes_and_losses_in_float32(tiny_config, tiny_batch):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        parts = build_parts(tiny_config)
        training = training_model(parts, tiny_config)
        inference = inference_model(parts, tiny_config, intermediates=True)
    finally:
        keras.config.set_dtype_policy("float32")
    for value in training(tiny_batch).values():
        assert value.dtype == tf.float32 and np.isfinite(value).all()
    outputs = inference(images_of(tiny_batch))
    assert outputs["C5"].dtype == outputs["P2"].dtype == outputs["class_logits"].dtype == tf.bfloat16
    for name in ("boxes", "scores", "masks", "proposals"):
        assert outputs[name].dtype == tf.float32
    assert all(anchors.dtype == tf.float32 for anchors in outputs["anchors"])
    assert {v.dtype for v in training.trainable_variables} == {"float32"}


def test_layers_get_their_detection_ops_when_they_are_created(tiny_parts, tiny_config, inference):
    ops = DetectionOps(nms_per_group=lambda *arguments, **settings: None)
    exported = inference_model(tiny_parts, tiny_config, detection_ops=ops)
    for name in ("anchors", "proposals", "box_pool", "detections", "mask_pool"):
        assert exported.get_layer(name).ops is ops
        assert inference.get_layer(name).ops is TENSORFLOW
