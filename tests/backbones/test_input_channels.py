"""Tests of models for images with other than three channels or eight bits, from weights to export."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny_model import spread_scores

import mask_rcnn
from mask_rcnn.backbones import BACKBONES, build_backbone, from_keras_model, with_channels
from mask_rcnn.backbones.input_channels import inflated
from mask_rcnn.config import BackboneConfig
from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.model import build_parts, inference_model
from mask_rcnn.model_zoo.backbones import load_backbone
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.training.initial_weights import initialize
from mask_rcnn.weights import read_header, variables, write_arrays

# Keras 3.15 saves variables of TensorFlow 2.21, whose `__array__` is that of NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

RGB_KERNEL = np.arange(2 * 2 * 3 * 4, dtype="float32").reshape(2, 2, 3, 4)


def with_input(config, channels, dtype="uint8", **fields):
    numbers = {"mean": (120.0,) * channels, "std": (60.0,) * channels}
    fields = {"channels": channels, "dtype": dtype, **numbers, **fields}
    return dataclasses.replace(config, input=dataclasses.replace(config.input, **fields))


def batch_of(batch, channels):
    """Returns the tiny batch with red, green and blue in turn as its channels."""
    return {**batch, "images": batch["images"][..., np.arange(channels) % 3]}


def small_network(first=None):
    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = first(x) if first else x
    for filters in (4, 8, 8, 8, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(images, x)


@BACKBONES.register("small_network_of_channels")
def small_backbone(config):
    return from_keras_model(small_network(), config)


def small_config(config, channels, dtype="uint8", **fields):
    """Returns the tiny config with a backbone of five convolutions."""
    backbone = BackboneConfig(name="small_network_of_channels", weights=None, frozen_stages=0)
    return with_input(dataclasses.replace(config, backbone=backbone), channels, dtype, **fields)


@pytest.mark.parametrize("channels", [1, 6])
def test_gray_pixels_give_what_they_gave_before(channels):
    kernel = inflated(RGB_KERNEL, (2, 2, channels, 4))
    np.testing.assert_allclose(kernel.sum(axis=2), RGB_KERNEL.sum(axis=2))


def test_kernels_are_copied_in_turn_and_scaled():
    kernel = inflated(RGB_KERNEL, (2, 2, 5, 4))
    np.testing.assert_allclose(kernel, RGB_KERNEL[:, :, [0, 1, 2, 0, 1]] * 3 / 5, rtol=1e-6)
    bgr = inflated(RGB_KERNEL, (2, 2, 4, 4), bgr=True)
    np.testing.assert_allclose(bgr, RGB_KERNEL[:, :, [2, 1, 0, 2]] * 3 / 4, rtol=1e-6)


def test_other_arrays_are_not_inflated():
    for shape in ((2, 2, 3, 4), (2, 2, 5, 8), (5,)):
        assert inflated(RGB_KERNEL, shape) is RGB_KERNEL


def test_a_fourth_channel_without_weight_changes_nothing(tiny_config, tiny_parts, tiny_batch):
    config = with_input(
        tiny_config, 4, mean=(*tiny_config.input.mean, 0.0), std=(*tiny_config.input.std, 1.0)
    )
    parts = build_parts(config)
    for name, variable in variables(tiny_parts).items():
        ours = variables(parts)[name]
        value = np.asarray(variable)
        ours.assign(
            np.pad(value, [(0, 0), (0, 0), (0, 1), (0, 0)]) if name == "backbone/stem/kernel" else value
        )
    rgb = {name: tiny_batch[name] for name in ("images", "image_sizes")}
    expected = inference_model(tiny_parts, tiny_config)(rgb)
    found = inference_model(parts, config)({**rgb, "images": batch_of(tiny_batch, 4)["images"]})
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_published_weights_are_inflated_and_reported(tiny_config, tiny_categories, tmp_path, capsys, name):
    backbone = dataclasses.replace(tiny_config.backbone, name=name)
    rgb = dataclasses.replace(tiny_config, backbone=backbone)
    source = build_backbone(rgb).model
    arrays = {f"backbone/{variable.path}": variable for variable in source.weights}
    write_arrays(tmp_path / "rgb.weights.h5", arrays, rgb, categories=tiny_categories)
    network = build_backbone(with_input(rgb, 4)).model
    load_backbone(network, name, tmp_path / "rgb.weights.h5")
    ours, theirs = (each.get_layer("stem").kernel.numpy() for each in (network, source))
    np.testing.assert_allclose(ours, theirs[:, :, [0, 1, 2, 0]] * 0.75, rtol=1e-6)
    assert "inflated from 3 channels to 4: copied in turn, times 3/4. It is frozen" in capsys.readouterr().out


def test_a_whole_detector_of_rgb_begins_one_of_gray(
    tiny_config, tiny_parts, tiny_categories, tmp_path, capsys
):
    path = tmp_path / "rgb.weights.h5"
    write_arrays(path, variables(tiny_parts), tiny_config, categories=tiny_categories)
    config = with_input(tiny_config, 1)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, init_weights=str(path)))
    parts = build_parts(config)
    initialize(parts, config, tiny_categories)
    kernel = tiny_parts.backbone.get_layer("stem").kernel.numpy()
    np.testing.assert_allclose(
        parts.backbone.get_layer("stem").kernel.numpy(), kernel.sum(axis=2, keepdims=True), rtol=1e-6
    )
    assert "to 1: summed" in capsys.readouterr().out


def test_a_keras_model_is_inflated_with_its_weights_and_its_normalization():
    network = small_network()
    backbone = from_keras_model(
        network, BackboneConfig(name="mine"), load=lambda weights: keras.models.clone_model(network)
    )
    six = with_channels(backbone, 6)
    assert six.mean == (127.5,) * 6 and six.first_level == backbone.first_level
    pixels = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    for each in (six, with_channels(backbone, 3)):
        repeated = np.tile(pixels, each.model.input_shape[-1] // 3)
        found = each.model(repeated)
        for ours, theirs in zip(found, backbone.model(pixels), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    before = six.model.get_weights()
    six.load("published")
    assert any((new != old).any() for new, old in zip(six.model.get_weights(), before, strict=True))


def test_a_network_that_cannot_be_inflated_is_refused():
    network = small_network(keras.layers.DepthwiseConv2D(3, padding="same"))
    backbone = from_keras_model(network, BackboneConfig(name="mine"))
    with pytest.raises(ValueError, match="first convolution changes. Received: input.channels=5"):
        with_channels(backbone, 5)


def test_a_difference_of_one_count_of_16_bits_reaches_the_backbone(tiny_config, tiny_categories):
    config = with_input(tiny_config, 3, "uint16")
    parts = build_parts(config)
    predictor = Predictor(parts, config, tiny_categories)
    image = np.full((64, 96, 3), 30_000, "uint16")
    inputs, _ = predictor.preprocess(image)
    image[0, 0, 0] += 1
    other, _ = predictor.preprocess(image)
    model = inference_model(parts, config, intermediates=True)
    levels = [np.asarray(model(each)["normalized"])[0, 0, 0, 0] * 60 + 120 for each in (inputs, other)]
    assert levels[1] > levels[0]
    np.testing.assert_allclose(levels, [30_000 / 256, 30_001 / 256], atol=1e-4)


@pytest.mark.parametrize(
    "channels", [4, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 8))]
)
def test_a_model_of_any_channels_trains_saves_loads_and_predicts(
    channels, tiny_config, tiny_batch, tiny_categories, tmp_path
):
    keras.utils.set_random_seed(0)
    model = mask_rcnn.MaskRCNN(small_config(tiny_config, channels), tiny_categories)
    batch = batch_of(tiny_batch, channels)
    model.compile()
    losses = model.fit(batch, batch_size=1, epochs=1, verbose=0).history["loss"]  # two steps
    assert np.isfinite(losses).all()
    image = batch["images"][0].astype("uint8")
    (expected,) = model.predict_images([image])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    (found,) = loaded.predict_images([image])
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    model.save_weights(tmp_path / "model.weights.h5")
    config, _ = read_header(tmp_path / "model.weights.h5")
    assert loaded.config.input.channels == config.input.channels == channels


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (2, "uint8"), (4, "uint16"), (8, "uint8")])
@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_exports_take_arrays(channels, dtype, format, tiny_config, tiny_categories, tmp_path, capsys):
    from mask_rcnn.export.writers import lite, saved_model

    resize = "bilinear" if format == "saved_model" else "antialiased_uint8"
    config = small_config(tiny_config, channels, dtype, resize=resize)
    keras.utils.set_random_seed(9)
    parts = build_parts(config, implementation="portable")
    spread_scores(parts)
    predictor = Predictor(parts, config, tiny_categories)
    if format == "saved_model":
        path = tmp_path / "model"
        saved_model.write(path, predictor)
        assert "arrays only" in capsys.readouterr().out
    else:
        path = tmp_path / "model.tflite"
        metadata = lite.runner_metadata(config, (64, 96))
        lite.write_file(path, lite.FramedPredictor(parts, config, tiny_categories, metadata=metadata))
    exported = ExportedPredictor(path)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (64, 96, channels)).astype(dtype)
    expected, found = predictor.predict(image), exported.predict(image)
    assert len(expected) and len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    with pytest.raises(ValueError, match=f"{channels}\\] of {dtype}"):
        exported.predict(image[..., :1].repeat(3, axis=-1))
