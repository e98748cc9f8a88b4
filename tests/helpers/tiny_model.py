"""A complete Mask R-CNN with three classes for images of 64 x 96 pixels, and a batch for it."""

import numpy as np

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


def make_config():
    """Returns the config of a complete Mask R-CNN with three classes for images of 64 x 96 pixels."""
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


def make_parts(config):
    """Returns the networks of a config with ImageNet weights and spread scores."""
    import keras

    from mask_rcnn.model import build_parts
    from mask_rcnn.model_zoo.backbones import load_backbone

    keras.utils.set_random_seed(9)
    parts = build_parts(config)
    load_backbone(parts.backbone, "efficientnet_lite0", "imagenet")
    spread_scores(parts)
    return parts


def make_batch():
    """Returns two different images: one of 64 x 96 pixels with two objects, one of 50 x 80 with one."""
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


def save_random_weights(path, config):
    """Writes a weights file with random numbers."""
    from mask_rcnn.model import build_parts
    from mask_rcnn.structures import Category
    from mask_rcnn.weights import save_weights

    categories = [Category(number, str(number)) for number in (1, 2, 3)]
    save_weights(path, build_parts(config), config, categories=categories)
