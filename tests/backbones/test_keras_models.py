"""Tests of other backbones: keras.applications, KerasHub, and a user's own Keras model."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny_model import spread_scores

from mask_rcnn.backbones import BACKBONES, build_backbone, from_keras_model, pyramid_strides
from mask_rcnn.config import AnchorConfig, BackboneConfig
from mask_rcnn.export import exported
from mask_rcnn.export.writers import lite, saved_model
from mask_rcnn.layers.images import NormalizeImages
from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.training.initial_weights import initialize
from mask_rcnn.training.trainer import Trainer
from mask_rcnn.weights import load_weights, save_weights

SMALL = "keras.applications/MobileNetV3Small"
RANDOM = {"weights": None, "norm": "batch_norm", "frozen_stages": 0}


@pytest.fixture
def make_config(tiny_config):
    def make(name, **backbone):
        return replace(
            tiny_config,
            input=replace(tiny_config.input, mean=None, std=None),
            backbone=BackboneConfig(name=name, **RANDOM | backbone),
        )

    return make


def pixels_of(size):
    return np.random.default_rng(0).integers(0, 256, [1, *size, 3]).astype("float32")


def two_steps(parts, config, batch):
    """Returns the losses of two training steps."""
    trainer = Trainer(training_model(parts, config), loss_normalization="batch")
    trainer.compile(optimizer=keras.optimizers.SGD(1.0, global_clipnorm=1e-3), jit_compile=False)
    inputs = {name: batch[name] for name in trainer.training_model.input}
    return [trainer.train_on_batch(inputs, return_dict=True)["loss"] for _ in range(2)]


def outputs_of(parts, config, batch):
    outputs = inference_model(parts, config)({name: batch[name] for name in ("images", "image_sizes")})
    return {name: np.asarray(value) for name, value in outputs.items()}


def assert_trains_and_loads(config, batch, categories, folder):
    keras.utils.set_random_seed(9)
    parts = build_parts(config)
    spread_scores(parts)
    before = [v.numpy() for v in parts.backbone.trainable_variables]
    losses = two_steps(parts, config, batch)
    assert np.isfinite(losses).all()
    changed = [
        np.any(a != v.numpy()) for a, v in zip(before, parts.backbone.trainable_variables, strict=True)
    ]
    assert np.mean(changed) > 0.8  # ConvNeXt scales blocks by 1e-6, so some hardly change
    save_weights(folder / "a.weights.h5", parts, config, categories=categories)
    again = build_parts(config)
    load_weights(folder / "a.weights.h5", again)
    expected = outputs_of(parts, config, batch)
    for name, value in outputs_of(again, config, batch).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    return parts


def test_mobilenet_v3_is_trained_saved_and_loaded(make_config, tiny_batch, tiny_categories, tmp_path):
    assert_trains_and_loads(make_config(SMALL), tiny_batch, tiny_categories, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny", "EfficientNetV2B0"])
def test_a_network_of_keras_applications_is_trained_saved_loaded_and_exported(
    name, make_config, tiny_batch, tiny_categories, tmp_path
):
    config = make_config(f"keras.applications/{name}")
    parts = assert_trains_and_loads(config, tiny_batch, tiny_categories, tmp_path)
    portable = build_parts(config, implementation="portable")
    load_weights(tmp_path / "a.weights.h5", portable)
    image = pixels_of((64, 96))[0].astype("uint8")

    predictor = Predictor(parts, config, tiny_categories)
    saved_model.write(tmp_path / "saved_model", predictor)
    assert_equal_detections(exported.load(tmp_path / "saved_model").predict(image), predictor.predict(image))

    framed = lite.FramedPredictor(
        portable, config, tiny_categories, metadata=lite.runner_metadata(config, (64, 96))
    )
    lite.write_file(tmp_path / "model.tflite", framed)
    assert_equal_detections(exported.load(tmp_path / "model.tflite").predict(image), framed.predict(image))


def assert_equal_detections(found, expected):
    assert len(expected.boxes)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.02)


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        pytest.param("ResNet50", marks=pytest.mark.slow),  # BGR, without a standard deviation
        pytest.param("MobileNetV2", marks=pytest.mark.slow),
        pytest.param("DenseNet121", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_maps_are_those_of_the_library_with_its_own_preprocessing(name, make_config):
    keras.utils.set_random_seed(1)
    function = getattr(keras.applications, name)
    network = function(weights=None, include_top=False, input_shape=(None, None, 3))
    module = getattr(keras.applications, MODULES[name])
    pixels = pixels_of((64, 96))
    expected = network(module.preprocess_input(pixels.copy()))

    config = make_config(f"keras.applications/{name}").backbone

    def load(weights):
        return network

    backbone = BACKBONES.find(config.name)(config)
    ours = from_keras_model(network, config, mean=backbone.mean, std=backbone.std, load=load)
    backbone.model.set_weights(ours.model.get_weights())
    normalize = NormalizeImages(backbone.mean, backbone.std)
    found = backbone.model(normalize(pixels, np.array([[64, 96]], "float32")))[-1]
    assert float(np.std(expected)) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 + 1e-4 * np.abs(expected).max())


MODULES = {
    "MobileNetV3Small": "mobilenet_v3",
    "ResNet50": "resnet",
    "MobileNetV2": "mobilenet_v2",
    "DenseNet121": "densenet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
}


def own_model():
    """Returns a model with three maps of strides 4, 8 and 16, from layers without names."""
    x = images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255, offset=-0.5)(x)
    for channels, strides in ((8, 4), (12, 2), (16, 2)):
        x = keras.layers.Conv2D(channels, 3, strides, padding="same", activation="relu")(x)
        x = keras.layers.BatchNormalization()(x)
    return keras.Model(images, x)


@BACKBONES.register("test_three_maps")
def three_maps(config):
    """Three maps."""
    return from_keras_model(own_model(), config, load=lambda weights: constant_model())


def constant_model():
    model = own_model()
    model.set_weights([np.full(w.shape, 0.25) for w in model.get_weights()])
    return model


def three_levels(config):
    return replace(config, anchors=AnchorConfig(sizes=(16, 32, 64), strides=(8, 16, 32)))


def test_a_model_of_ones_own_is_trained_saved_and_loaded(make_config, tiny_batch, tiny_categories, tmp_path):
    config = three_levels(make_config("test_three_maps"))
    parts = assert_trains_and_loads(config, tiny_batch, tiny_categories, tmp_path)
    assert [layer.name for layer in parts.fpn.layers if layer.name.startswith(("lateral", "p"))] == [
        "lateral4",
        "lateral3",
        "p5",
    ]
    outputs = inference_model(parts, config, intermediates=True)(
        {name: tiny_batch[name] for name in ("images", "image_sizes")}
    )
    assert {name: x.shape[1:3] for name, x in outputs.items() if name in {"C3", "C4", "P3", "P4", "P5"}} == {
        "C3": (8, 12),
        "C4": (4, 6),
        "P3": (8, 12),
        "P4": (4, 6),
        "P5": (2, 3),
    }


def test_layers_of_a_map_that_the_detector_does_not_take_stay_as_they_are(make_config, tiny_batch):
    config = make_config("test_three_maps")
    config = replace(config, anchors=AnchorConfig(sizes=(16, 32), strides=(4, 8)))
    parts = build_parts(config)
    before = {v.path: v.numpy() for v in parts.backbone.trainable_variables}
    assert np.isfinite(two_steps(parts, config, tiny_batch)).all()
    after = {v.path: v.numpy() for v in parts.backbone.trainable_variables}
    changed = {path for path in before if np.any(before[path] != after[path])}
    assert "conv2d_1/kernel" in changed and "conv2d_2/kernel" not in changed


def test_rescaling_becomes_the_input_normalization(make_config):
    backbone = build_backbone(make_config("test_three_maps"))
    assert backbone.strides == (4, 8, 16)
    np.testing.assert_allclose([backbone.mean, backbone.std], [[127.5] * 3, [255.0] * 3], rtol=1e-5)
    names = [v.path for v in backbone.model.weights]
    assert names[0] == "conv2d_0/kernel" and "batch_normalization_2/gamma" in names


def test_another_normalization_than_that_of_the_weights_is_refused(make_config):
    config = make_config("test_three_maps")
    with pytest.raises(ValueError, match=r"Set `input.mean=null` and `input.std=null`"):
        build_parts(replace(config, input=replace(config.input, mean=(1.0, 2.0, 3.0))))


def test_stages_freeze_by_stride_and_batch_normalizations_by_norm(make_config):
    def trainable(**fields):
        model = build_backbone(make_config("test_three_maps", **fields)).model
        return [v.path for v in model.trainable_variables]

    assert trainable(frozen_stages=3, norm="frozen_batch_norm") == ["conv2d_2/kernel", "conv2d_2/bias"]
    assert trainable(frozen_stages=3)[-2:] == ["batch_normalization_2/gamma", "batch_normalization_2/beta"]
    assert len(trainable()) == 12


def test_frozen_batch_normalizations_run_in_inference_mode(make_config):
    model = build_backbone(make_config("test_three_maps", norm="frozen_batch_norm")).model
    pixels = pixels_of((32, 32)) / 255
    for ours, expected in zip(model(pixels, training=True), model(pixels, training=False), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_published_weights_come_from_the_loader(make_config):
    config = three_levels(make_config("test_three_maps", weights="imagenet"))
    parts = build_parts(config)
    initialize(parts, config, ())
    assert all(np.all(v.numpy() == 0.25) for v in parts.backbone.weights)


def test_no_connection_is_one_clear_error(make_config, monkeypatch):
    def get_file(*args, **kwargs):
        raise Exception("URL fetch failure on https://storage.googleapis.com/a.h5: None -- refused")

    monkeypatch.setattr("keras.src.applications.mobilenet_v3.file_utils.get_file", get_file)
    config = make_config(SMALL, weights="imagenet")
    with pytest.raises(OSError, match=r"cannot be downloaded.*Connect to the internet once"):
        initialize(build_parts(config), config, ())


@pytest.mark.parametrize(
    ("available", "wanted", "taken"),
    [
        ((4, 8, 16, 32), (4, 8, 16, 32, 64), (4, 8, 16, 32)),
        ((2, 4, 8, 16, 32), (8, 16, 32, 64, 128), (8, 16, 32)),
        ((2, 4, 8), (4, 8), (4, 8)),
    ],
)
def test_anchors_choose_the_maps_of_the_backbone(available, wanted, taken):
    assert pyramid_strides(available, wanted, has_fpn=True) == taken


@pytest.mark.parametrize("wanted", [(4, 16, 32), (16, 32, 128), (3, 6), (64, 128)])
def test_anchors_that_do_not_fit_the_backbone_get_a_proposal(wanted):
    with pytest.raises(ValueError, match=r"Set `anchors.strides=4, 8, 16, 32, 64` and `anchors.sizes=32, "):
        pyramid_strides((2, 4, 8, 16, 32), wanted, has_fpn=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", r"Did you mean 'resnet50'\?"),
        ("keras.applications/MobileNetV9", "has no such network.*MobileNetV3Small"),
    ],
)
def test_unknown_names_are_refused(name, message, make_config):
    with pytest.raises(ValueError, match=message):
        build_parts(make_config(name))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_backbone_of_keras_hub(make_config, tiny_batch, tiny_categories, tmp_path):
    keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    source = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 24, 32],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    source.save_to_preset(str(tmp_path / "preset"))
    config = make_config(f"keras_hub/{tmp_path / 'preset'}")
    with pytest.raises(ValueError, match=r"Set `input.mean` and `input.std`"):
        build_parts(config)
    config = replace(config, input=tiny_batch_input(config))
    assert build_backbone(config).strides == (4, 8, 16, 32)
    parts = assert_trains_and_loads(config, tiny_batch, tiny_categories, tmp_path)
    initialize(parts, replace(config, backbone=replace(config.backbone, weights="preset")), ())
    pixels = pixels_of((64, 96))
    for ours, level in zip(parts.backbone(pixels), ("P2", "P3", "P4", "P5"), strict=True):
        theirs = keras.Model(source.inputs[0], source.pyramid_outputs[level])(pixels)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def tiny_batch_input(config):
    return replace(config.input, mean=(127.5,) * 3, std=(127.5,) * 3)
