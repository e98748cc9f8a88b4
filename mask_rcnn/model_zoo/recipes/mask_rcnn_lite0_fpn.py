from mask_rcnn.config import (
    BackboneConfig,
    BoxHeadConfig,
    Config,
    FpnConfig,
    InputConfig,
    MaskHeadConfig,
    RpnConfig,
    TrainConfig,
)


def mask_rcnn_lite0_fpn():
    """Mask R-CNN for devices and small machines: EfficientNet-Lite0-FPN from ImageNet weights.

    Short side 512, a pyramid of 64 channels and light heads, both with group normalization, without which
    they learn slowly from random weights. Batches of four for one GPU or a few cores. As many classes as the
    data set has. The schedule is that of COCO and not measured; `fine_tune` is the one for small data sets.
    """
    return Config(
        num_classes=0,
        input=InputConfig(
            short_side=512,
            train_short_sides=(416, 448, 480, 512),
            long_side=853,
            mean=(127.0, 127.0, 127.0),  # Lite0 was trained on (pixel - 127) / 128
            std=(128.0, 128.0, 128.0),
        ),
        backbone=BackboneConfig(name="efficientnet_lite0", weights="imagenet"),
        fpn=FpnConfig(channels=64, norm="group_norm"),
        rpn=RpnConfig(channels=64, train_pre_nms=1000, train_post_nms=500, pre_nms=500, post_nms=300),
        box_head=BoxHeadConfig(dense_units=(256, 256), samples=128),
        mask_head=MaskHeadConfig(channels=64, norm="group_norm"),
        train=TrainConfig(batch_size=4, clip_norm=10.0),
    )
