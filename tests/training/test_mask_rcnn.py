"""Tests of `MaskRCNN` as a Keras user would use it."""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from locations import HELPERS

import mask_rcnn
import mask_rcnn.export.exported
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.shapes import write_shapes

# Keras 3.15 saves variables of TensorFlow 2.21, whose `__array__` is that of NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture
def model(tiny_config, tiny_categories):
    keras.utils.set_random_seed(0)
    return mask_rcnn.MaskRCNN(tiny_config, tiny_categories)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The annotations, the folder and the `Dataset` of five drawn images."""
    annotations, images = write_shapes(tmp_path_factory.mktemp("shapes"), 5, (64, 64), seed=0)
    return annotations, images, mask_rcnn.read_coco(annotations, images)


@pytest.fixture
def batches(tiny_batch):
    """A user's own data: three images without seeds, in batches of two."""
    images = {
        name: np.concatenate([value, value[:1]]) for name, value in tiny_batch.items() if name != "seeds"
    }
    return tf.data.Dataset.from_tensor_slices(images).batch(2)


def detected(model, batch):
    outputs = model.predict({name: batch[name] for name in ("images", "image_sizes")}, verbose=0)
    return np.concatenate([np.ravel(outputs[name]) for name in sorted(outputs)])


def test_the_first_ten_lines(shapes, tiny_config, tmp_path, monkeypatch):
    annotations, images, train = shapes
    val = train
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(tiny_config, num_classes=2)
    mask_rcnn.MaskRCNN(config).save_weights("preset.weights.h5")
    path = sorted(images.iterdir())[0]

    model = mask_rcnn.MaskRCNN.from_preset("preset.weights.h5", num_classes=3)
    model.compile()
    callbacks = [
        mask_rcnn.CocoAP(annotations, images),
        keras.callbacks.EarlyStopping(monitor="val_segm/AP", mode="max", patience=3),
    ]
    history = model.fit(train, validation_data=val, callbacks=callbacks, batch_size=2, epochs=2, verbose=0)
    detections = model.predict_images([path, read_image(path)])
    model.save("mine.keras")

    assert [len(history.history[name]) for name in ("loss", "mask_loss", "val_loss", "val_segm/AP")] == [
        2
    ] * 4
    np.testing.assert_array_equal(detections[0].boxes, detections[1].boxes)
    loaded = keras.models.load_model("mine.keras")
    assert loaded.categories == model.categories
    np.testing.assert_array_equal(loaded.predict_images([path])[0].scores, detections[0].scores)


def test_average_precision_is_the_same_for_a_path_and_a_dataset(shapes):
    annotations, images, dataset = shapes
    from_path, from_dataset = mask_rcnn.CocoAP(annotations, images), mask_rcnn.CocoAP(dataset)
    assert from_path.dataset == from_dataset.dataset
    assert len(from_path.content.annotations) == len(from_dataset.content.annotations) > 0
    with pytest.raises(ValueError, match="Pass the `Dataset` alone"):
        mask_rcnn.CocoAP(dataset, images)
    with pytest.raises(ValueError, match="folder"):
        mask_rcnn.CocoAP(annotations)


def test_every_callback_of_keras_works_on_the_users_own_batches(model, batches, tmp_path):
    model.compile(keras.optimizers.Adam(1e-4))
    best = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=1, min_delta=1e9),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "tensorboard"),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch == 1 else rate),
        keras.callbacks.EarlyStopping(
            monitor="val_loss", min_delta=1e9, patience=2, restore_best_weights=True
        ),
    ]
    history = model.fit(batches, validation_data=batches, epochs=4, callbacks=callbacks, verbose=0).history
    assert len(history["loss"]) == 3  # the first epoch, and two without an improvement of 1e9
    assert history["learning_rate"][1] < history["learning_rate"][0]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["val_mask_loss"]) for row in rows] == pytest.approx(history["val_mask_loss"], rel=1e-5)
    assert list((tmp_path / "tensorboard").rglob("events*"))
    losses = keras.models.load_model(best).evaluate(batches, verbose=0, return_dict=True)
    assert losses["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_a_saved_model_loads_in_another_process(model, batches, tiny_batch, tmp_path):
    model.fit(batches, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "batch.npz", **{name: tiny_batch[name] for name in ("images", "image_sizes")})
    code = (
        "import keras, numpy; from mask_rcnn import MaskRCNN; "
        "model = keras.models.load_model('model.keras'); "
        "outputs = model.predict(dict(numpy.load('batch.npz')), verbose=0); "
        "print(numpy.concatenate([numpy.ravel(outputs[name]) for name in sorted(outputs)]).tolist()); "
        "print(int(model.optimizer.iterations), type(model.optimizer).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    outputs, optimizer = done.stdout.strip().splitlines()[-2:]
    np.testing.assert_allclose(json.loads(outputs), detected(model, tiny_batch), atol=1e-6)
    assert optimizer == "2 CoupledSGD"


def test_a_clone_has_the_same_architecture_and_other_weights(model, tiny_batch):
    clone = keras.models.clone_model(model)
    assert type(clone) is mask_rcnn.MaskRCNN
    assert clone.config == model.config
    assert clone.categories == model.categories
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(detected(clone, tiny_batch), detected(model, tiny_batch))
    again = mask_rcnn.MaskRCNN.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert mask_rcnn.MaskRCNN.from_config(model.config).config == model.config


def test_a_summary_lists_the_networks_once(model):
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert all(f"{name} (" in text for name in model.parts.named())
    assert "mask_rcnn_training" not in text
    assert f"{model.count_params():,}" in text
    assert model.count_params() == sum(part.count_params() for part in model.parts.named().values())


def test_weights_are_a_file_of_the_commands(model, tmp_path, tiny_batch):
    model.save_weights(tmp_path / "model.weights.h5")
    other = mask_rcnn.MaskRCNN.from_preset(str(tmp_path / "model.weights.h5"))
    assert other.categories == model.categories
    np.testing.assert_array_equal(detected(other, tiny_batch), detected(model, tiny_batch))
    with pytest.raises(FileExistsError, match="Choose another name"):
        model.save_weights(tmp_path / "model.weights.h5", overwrite=False)


def test_other_classes_keep_all_but_the_layers_of_the_classes(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    other = mask_rcnn.MaskRCNN.from_preset(tmp_path / "model.weights.h5", categories=("ant", "bee"))
    assert [category.name for category in other.categories] == ["ant", "bee"]
    for name in ("backbone", "rpn_head"):
        for ours, theirs in zip(getattr(other, name).weights, getattr(model, name).weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_recipe_begins_with_a_pretrained_backbone():
    model = mask_rcnn.MaskRCNN.from_preset("fine_tune", categories=("nut",))
    assert model.config.num_classes == 1
    with pytest.raises(ValueError, match="Add, for example, `categories="):
        mask_rcnn.MaskRCNN.from_preset("fine_tune")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch: {**batch, "gt_boxes": batch["gt_boxes"][..., ::-1]}, "with y1 < y2 and x1 < x2"),
        (lambda batch: {**batch, "gt_boxes": batch["gt_boxes"] / 1000}, "fractions of the size"),
        (lambda batch: {**batch, "gt_boxes": batch["gt_boxes"] * 2}, "beyond their image"),
        (lambda batch: {**batch, "gt_class_ids": batch["gt_class_ids"] + 1}, "must be 1 to 3"),
        (lambda batch: {**batch, "gt_masks": batch["gt_masks"][:, :, :8]}, r"shape \[\?, 4, 16, 16\]"),
        (
            lambda batch: {**batch, "images": batch["images"][..., :1]},
            r"`images` of a batch must have the shape",
        ),
        (lambda batch: {name: batch[name] for name in batch if name != "gt_masks"}, "mask_head: null"),
        (lambda batch: batch["images"], "A batch must be a dict"),
    ],
)
def test_wrong_batches_are_an_error_before_the_first_step(model, tiny_batch, change, message):
    with pytest.raises(ValueError, match=message):
        model.fit(change(tiny_batch), verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_ground_truth_beside_the_batch_is_an_error(model, tiny_batch):
    with pytest.raises(ValueError, match="The ground truth is in the batches"):
        model.fit(tiny_batch, tiny_batch["gt_boxes"])
    with pytest.raises(ValueError, match="The model has its own losses"):
        model.compile(loss="mse")


def test_a_data_set_of_other_classes_is_an_error(tiny_config, shapes):
    model = mask_rcnn.MaskRCNN(dataclasses.replace(tiny_config, num_classes=2))
    with pytest.raises(ValueError, match="Make the model with `num_classes=3`"):
        model.fit(shapes[2])


@pytest.mark.slow  # each export is checked in a new process: a minute
@pytest.mark.parametrize(("name", "options"), [("1", {}), ("model.tflite", {"size": (64, 96)})])
def test_an_export_is_run_and_kept(model, tmp_path, name, options):
    report = model.export(tmp_path / name, **options)
    assert report["outcome"] in ("passed", "warned")
    assert mask_rcnn.export.exported.load(tmp_path / name).categories == model.categories


@pytest.mark.slow
def test_four_micro_batches_of_four_images_are_a_batch_of_sixteen(tiny_config, tiny_batch):
    images = {name: np.concatenate([value] * 8) for name, value in tiny_batch.items()}
    images["seeds"] = np.stack([np.arange(16), np.zeros(16)], axis=1).astype("int32")
    batches, results = tf.data.Dataset.from_tensor_slices(images).batch(16).repeat(3), []
    for accumulate in (1, 4):
        recipe = dataclasses.replace(
            tiny_config.train, batch_size=16, reference_batch_size=16, accumulate=accumulate
        )
        keras.utils.set_random_seed(0)
        # In float32, rounding can select the other one of two equal proposals.
        model = mask_rcnn.MaskRCNN(dataclasses.replace(tiny_config, train=recipe), precision="float64")
        model.compile(keras.optimizers.SGD(0.01))
        start = model.get_weights()
        model.fit(batches, shuffle=False, verbose=0)
        results.append(model.get_weights())
    one, four = results
    assert max(np.abs(a - b).max(initial=0) for a, b in zip(one, start, strict=True)) > 1e-3
    assert max(np.abs(a - b).max(initial=0) for a, b in zip(one, four, strict=True)) < 1e-5


def test_two_replicas_train_on_uneven_batches_to_the_weights_of_one(tmp_path):
    script = HELPERS / "mask_rcnn_mirrored.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "results.json"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["moved"] > 1e-3
    assert results["difference"] < 1e-5
    assert results["logs"][0] == pytest.approx(results["logs"][1], rel=1e-4)
