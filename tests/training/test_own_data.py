"""Tests of `train` with the user's own model and data."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_coco import read_small_coco
from thread_processes import run_in_threads
from training_run import TINY

from mask_rcnn import MaskRCNN, config_io
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.training.batches import batches_of, validation_batches
from mask_rcnn.training.distributed_evaluation import ValidationLosses
from mask_rcnn.training.preflight import preflight
from mask_rcnn.training.prepare import prepare
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.train import train

CONFIG = config_io.override_all(
    TINY,
    {
        "num_classes": 1,
        "backbone.weights": None,
        "backbone.frozen_stages": 0,
        "train.steps": 2,
        "train.milestones": (),
        "train.checkpoint_every": 1,
        "train.evaluate_every": 0,
        "train.batch_size": 2,
        "train.reference_batch_size": 2,
    },
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return read_small_coco(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model():
    return MaskRCNN(CONFIG, ["person"])


def test_a_model_of_the_user_is_trained_from_its_weights_and_evaluated(dataset, model, tmp_path):
    before = model.parts.box_head.get_weights()
    seen = []
    at_begin = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.extend(model.parts.box_head.get_weights())
    )
    metrics = train(CONFIG, tmp_path, model=model, train_data=dataset, val_data=dataset, callbacks=[at_begin])
    for ours, theirs in zip(before, seen, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any((a != b).any() for a, b in zip(before, model.parts.box_head.get_weights(), strict=True))
    assert metrics.summary["segm"]["AP"] is not None and metrics.num_images == len(dataset)
    saved = MaskRCNN.from_preset(tmp_path / "final.weights.h5")
    for ours, theirs in zip(saved.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_losses_of_the_validation_set_are_in_the_log_and_may_choose_the_best_weights(dataset, tmp_path):
    changes = {"train.validation_loss": True, "train.best_metric": "val_loss", "train.evaluate_every": 1}
    config = config_io.override_all(CONFIG, changes)
    model = MaskRCNN(config, ["person"])
    train(config, tmp_path, model=model, train_data=dataset, val_data=dataset)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    weights = ("best" if lines[0]["val_loss"] > lines[1]["val_loss"] else "final") + ".weights.h5"
    expected = MaskRCNN.from_preset(tmp_path / weights).evaluate(dataset, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert lines[1][f"val_{name}"] == pytest.approx(value, rel=1e-4)


def test_losses_of_a_data_set_are_the_same_for_any_number_of_processes(dataset, model):
    def losses(context):
        return ValidationLosses(dataset, context)(model)

    model.compile()
    (alone,) = run_in_threads(1, losses)
    assert alone["loss"] == pytest.approx(sum(alone[name] for name in model.loss_means.names))
    assert run_in_threads(3, losses) == [alone] * 3


def test_losses_of_the_validation_set_need_the_classes_in_the_order_of_the_model(dataset, tmp_path):
    config = config_io.override_all(CONFIG, {"train.validation_loss": True})
    other = dataclasses.replace(dataset, categories=(dataclasses.replace(dataset.categories[0], name="cat"),))
    model = MaskRCNN(config, ["person"])
    model.compile()
    with pytest.raises(ValueError, match="classes of the model, in its order"):
        validation_batches(other, model)


def test_batches_of_the_user_are_resumed_behind_those_of_the_steps_that_are_done(dataset, model, tmp_path):
    batches = training_dataset(dataset, CONFIG).take(2)
    numbers = []

    def note(batch):
        numbers.append(int(batch["image_sizes"][0, 0]) * 1000 + int(batch["image_sizes"][0, 1]))
        return batch

    run = prepare(CONFIG, tmp_path, model=model, train_data=batches)
    context = run_context(model.distribute_strategy)
    with batches_of(run.train_set, run.config, context) as (make_batches, images_of):
        all_of_them = [note(batch) for batch in make_batches(0).take(4)]
        resumed = next(iter(make_batches(3)))
    assert images_of(3) == "unknown" and numbers[:2] == numbers[2:]
    np.testing.assert_array_equal(resumed["images"], all_of_them[1]["images"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fpn.channels": 32}, "fpn.channels: 16 -> 32"),
        ({"input.short_side": 48}, "input.short_side: 64 -> 48"),
        ({"train.strategy": "mirrored"}, "under the strategy of the run"),
    ],
)
def test_a_model_with_another_config_is_an_error_that_names_the_field(
    dataset, model, tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        prepare(config_io.override_all(CONFIG, changes), tmp_path, model=model, train_data=dataset)


def test_a_model_with_other_classes_is_an_error(dataset, tmp_path, model):
    other = dataclasses.replace(dataset, categories=(dataclasses.replace(dataset.categories[0], name="cat"),))
    with pytest.raises(ValueError, match="classes: person -> cat"):
        prepare(CONFIG, tmp_path, model=model, train_data=other)


@pytest.mark.parametrize(
    "data, changes, message",
    [
        ({"train_data": [1]}, {}, "Received: list"),
        ({"val_data": "dataset"}, {}, "`val_data` alone"),
        ({"train_data": "dataset", "val_data": [1]}, {}, "Received: list"),
        ({"train_data": "dataset"}, {"data.train_annotations": "a.json"}, "Received: both"),
        ({"train_data": "batches"}, {"num_classes": 0}, "Set `num_classes`"),
        ({"train_data": "no batches"}, {}, "at least one batch"),
    ],
)
def test_data_that_cannot_be_trained_on_are_an_error(dataset, tmp_path, data, changes, message):
    known = {
        "dataset": dataset,
        "batches": tf.data.Dataset.range(3),
        "no batches": tf.data.Dataset.range(0),
    }
    data = {
        name: known.get(value, value) if isinstance(value, str) else value for name, value in data.items()
    }
    config = config_io.override_all(CONFIG, {"backbone.norm": "batch_norm", **changes})
    with pytest.raises(ValueError, match=message):
        preflight(config, tmp_path / "run", run_id="id", data_folder=tmp_path, user_objects=data)


def test_the_records_of_a_data_set_are_the_annotations_of_its_file(dataset):
    ours = content_of_dataset(dataset)
    theirs = content_of_dataset(dataset, dataset.images[0].path.parent / "instances.json")
    assert ours.categories == theirs.categories
    for name in ("ids", "images", "class_ids", "areas", "crowd", "num_keypoints"):
        np.testing.assert_array_equal(
            getattr(ours.annotations.table, name), getattr(theirs.annotations.table, name), err_msg=name
        )
    for mine, other in zip(ours.annotations, theirs.annotations, strict=True):
        assert (mine["segmentation"], mine["keypoints"]) == (other["segmentation"], other["keypoints"])
        np.testing.assert_allclose(mine["bbox"], other["bbox"], atol=1e-9)
