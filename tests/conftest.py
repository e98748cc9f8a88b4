"""Fixtures that several test files share."""

import pathlib
import signal

import numpy as np
import pytest

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    FpnConfig,
    InputConfig,
    MaskHeadConfig,
    RpnConfig,
)

pytest.register_assert_rewrite("parity_harness")

SHARED_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def default_signals():
    """Sets the signal handlers of a terminal; with `nohup` and in background jobs some are ignored."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        handlers[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of the real data sets. Tests that need it are skipped if it does not exist."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data sets in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def decode():
    """A function of the bytes of an image file that returns its pixels, as in a SavedModel.

    In error messages it is file 2 of a batch, counted from 0.
    """
    import tensorflow as tf

    from mask_rcnn.export.image_graph.image_files import decode_file

    function = tf.function(
        lambda contents: decode_file(2, contents, max_pixels=1_000_000),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )
    return lambda contents: function(contents).numpy()


@pytest.fixture(scope="session")
def tiny_config():
    """The config of a complete Mask R-CNN with three classes for images of 64 x 96 pixels."""
    return Config(
        num_classes=3,
        input=InputConfig(
            short_side=64, train_short_sides=(64,), long_side=96, max_instances=4, mask_crop_size=16
        ),
        backbone=BackboneConfig(name="efficientnet_lite0"),
        fpn=FpnConfig(channels=16),
        anchors=AnchorConfig(sizes=(8, 16, 32, 64, 128)),
        rpn=RpnConfig(channels=16, train_pre_nms=60, train_post_nms=40, pre_nms=60, post_nms=30, samples=32),
        box_head=BoxHeadConfig(dense_units=(32, 32), samples=16, max_detections=8),
        mask_head=MaskHeadConfig(convs=1, channels=16),
    )


def spread_scores(parts):
    """Spreads the scores of random networks like those of trained ones, so that rounding changes no order."""
    for layer in (parts.rpn_head.get_layer("objectness"), parts.box_head.get_layer("class_logits")):
        layer.kernel.assign(layer.kernel * 30)


@pytest.fixture(scope="session")
def tiny_parts(tiny_config):
    """The networks of `tiny_config` with ImageNet weights and spread scores. Do not modify them."""
    import keras

    from mask_rcnn.model import build_parts
    from mask_rcnn.model_zoo.backbones import load_backbone

    keras.utils.set_random_seed(9)
    parts = build_parts(tiny_config)
    load_backbone(parts.backbone, "efficientnet_lite0", "imagenet")
    spread_scores(parts)
    return parts


@pytest.fixture(scope="session")
def tiny_batch():
    """Two different images: one of 64 x 96 pixels with two objects, one of 50 x 80 with one."""
    rng = np.random.default_rng(0)
    image_sizes = np.array([[64, 96], [50, 80]], "float32")
    images = np.zeros([2, 64, 96, 3], "float32")
    for image, (height, width) in zip(images, image_sizes.astype(int), strict=True):
        image[:height, :width] = rng.uniform(0, 255, [height, width, 3])
    gt_boxes = np.zeros([2, 4, 4], "float32")
    gt_boxes[0, :2] = [[4, 6, 40, 50], [30, 60, 60, 90]]
    gt_boxes[1, :1] = [[10, 20, 45, 60]]
    return {
        "images": images,
        "image_sizes": image_sizes,
        "gt_boxes": gt_boxes,
        "gt_class_ids": np.array([[1, 3, 0, 0], [2, 0, 0, 0]], "int32"),
        "gt_masks": rng.integers(0, 2, [2, 4, 16, 16]).astype("uint8"),
        "seeds": np.array([[0, 5], [1, 5]], "int32"),
    }


@pytest.fixture(scope="session")
def resnet50_parts():
    """The networks of torchvision's `maskrcnn_resnet50_fpn`, 44 million weights. Do not modify them."""
    from mask_rcnn.model import build_parts
    from mask_rcnn.model_zoo.torchvision import maskrcnn_resnet50_fpn

    return build_parts(maskrcnn_resnet50_fpn())


@pytest.fixture(scope="session")
def tiny_categories():
    from mask_rcnn.structures import Category

    return (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))


@pytest.fixture(scope="session")
def tiny_tflite(tiny_parts, tiny_config, tiny_categories, tmp_path_factory):
    """The path of the tiny model as a TFLite file with a frame of 64 x 96 pixels. Do not modify it."""
    from mask_rcnn.export.writers import lite

    metadata = lite.runner_metadata(tiny_config, (64, 96))
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    lite.write_file(path, lite.FramedPredictor(tiny_parts, tiny_config, tiny_categories, metadata=metadata))
    return path


@pytest.fixture(scope="session")
def tiny_saved_model(tiny_parts, tiny_config, tiny_categories, tmp_path_factory):
    """The path of the tiny model as a SavedModel. Do not modify it."""
    from mask_rcnn.export.writers import saved_model
    from mask_rcnn.prediction.predict import Predictor

    path = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.write(path, Predictor(tiny_parts, tiny_config, tiny_categories))
    return path
