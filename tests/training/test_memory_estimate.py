"""Tests of the estimated memory of a training step, and the warning if it is not available."""

import dataclasses
import types

import keras
import tensorflow as tf

from mask_rcnn.data.records import Dataset, ImageRecord
from mask_rcnn.model import build_parts
from mask_rcnn.structures import Category
from mask_rcnn.training import memory_estimate
from mask_rcnn.training.memory_estimate import (
    _outputs,
    describe_memory,
    estimate_memory,
    image_bytes,
    largest_size,
    num_bytes,
)

SIZE = (64, 96)


def model_of(parts, config, **changes):
    """Returns the parts of a `MaskRCNN` that the estimate needs."""
    return types.SimpleNamespace(
        parts=parts,
        config=dataclasses.replace(config, train=dataclasses.replace(config.train, **changes)),
        trainable_variables=[v for part in parts.named().values() for v in part.trainable_variables],
        optimizer=types.SimpleNamespace(built=False),
        distribute_strategy=tf.distribute.get_strategy(),
    )


def test_the_outputs_of_the_layers_that_train_are_counted_in_their_precision():
    inputs = keras.Input([None, None, 3])
    x = keras.layers.Conv2D(2, 1, trainable=False)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)  # 8 x 6 x 4 float32
    x = keras.layers.Activation("relu", dtype="float16")(x)  # 8 x 6 x 4 float16
    network = keras.Model(inputs, [keras.layers.MaxPooling2D(2, dtype="float16")(x)])  # 4 x 3 x 4 float16
    total, shapes = _outputs(network, (2, 8, 6, 3))
    assert (total, shapes) == (2 * (8 * 6 * 4 * (4 + 2) + 4 * 3 * 4 * 2), [(2, 4, 3, 4)])
    nested = keras.Input([None, None, 3])
    assert _outputs(keras.Model(nested, network(nested)), (2, 8, 6, 3)) == (total, shapes)


def test_the_activations_grow_with_the_image_and_shrink_with_rematerialization(tiny_config, tiny_parts):
    recipe = dataclasses.replace(tiny_config.train, rematerialize=True)
    whole = image_bytes(tiny_parts, tiny_config, SIZE)
    assert image_bytes(tiny_parts, tiny_config, (128, 192)) > 2 * whole
    assert image_bytes(tiny_parts, dataclasses.replace(tiny_config, train=recipe), SIZE) < 0.8 * whole


def test_images_of_any_channels_have_an_estimate(tiny_config, tiny_parts):
    numbers = {"mean": (120.0,) * 6, "std": (60.0,) * 6}
    settings = dataclasses.replace(tiny_config.input, channels=6, **numbers)
    config = dataclasses.replace(tiny_config, input=settings)
    six, three = model_of(build_parts(config), config), model_of(tiny_parts, tiny_config)
    text, fits = describe_memory(six, dataset_of((60, 90)), 1e12)
    assert text.startswith("about ") and fits
    assert estimate_memory(six, SIZE).image == estimate_memory(three, SIZE).image
    assert estimate_memory(six, SIZE).batches == 2 * estimate_memory(three, SIZE).batches


def test_gradients_and_slots_are_those_of_what_trains(tiny_config, tiny_parts):
    model = model_of(tiny_parts, tiny_config, batch_size=8, accumulate=2)
    trained = num_bytes(model.trainable_variables)
    estimate = estimate_memory(model, SIZE)
    assert (estimate.gradients, estimate.num_images) == (2 * trained, 4)
    model.optimizer.built = True
    assert estimate_memory(model, SIZE).gradients == trained
    averaged = model_of(tiny_parts, tiny_config, ema_decay=0.9)
    assert estimate_memory(averaged, SIZE).gradients == 3 * trained


def dataset_of(*sizes):
    images = [
        ImageRecord(id=i, path=None, height=h, width=w, annotations=()) for i, (h, w) in enumerate(sizes)
    ]
    return Dataset("sizes", (Category(1, "cat"),), tuple(images))


def test_the_largest_batch_has_the_largest_sides_of_all_images(tiny_config):
    two = dataset_of((60, 90), (90, 60))
    assert largest_size(two, tiny_config) == (96, 96)
    one = dataclasses.replace(tiny_config, train=dataclasses.replace(tiny_config.train, batch_size=1))
    assert largest_size(two, one) in ((64, 96), (96, 64))
    assert largest_size(tf.data.Dataset.range(1), tiny_config) == (64, 96)


def test_a_step_that_fits_is_a_line_without_advice(tiny_config, tiny_parts):
    model = model_of(tiny_parts, tiny_config)
    text, fits = describe_memory(model, dataset_of((60, 90)), 64e9)
    assert fits and text.endswith("for a step with 16 images of 64 x 96, 64.0 GB free")
    text, fits = describe_memory(model, dataset_of((60, 90)), None)
    assert fits and text.endswith("unknown how much is free")


def test_a_step_that_does_not_fit_is_answered_with_what_would(tiny_config, tiny_parts):
    model = model_of(tiny_parts, tiny_config)
    estimate = estimate_memory(model, SIZE)
    free = dataclasses.replace(estimate, num_images=5).total
    text, fits = describe_memory(model, dataset_of((60, 90)), free)
    assert not fits
    assert "train.accumulate=4 (at most 5 at once)" in text
    text, fits = describe_memory(model, dataset_of((60, 90)), estimate.total - 1)
    assert "train.rematerialize=true (" in text and "train.precision=mixed_bfloat16 (" in text
    text, fits = describe_memory(model, dataset_of((60, 90)), 1e3)
    assert not fits and "Only smaller images" in text


def test_an_estimate_that_fails_does_not_stop_a_run(tiny_config, tiny_parts, monkeypatch):
    def fail(*arguments):
        raise TypeError("odd layer")

    monkeypatch.setattr(memory_estimate, "image_bytes", fail)
    assert describe_memory(model_of(tiny_parts, tiny_config), dataset_of((60, 90)), 1e9) == (
        "unknown, TypeError: odd layer",
        True,
    )
