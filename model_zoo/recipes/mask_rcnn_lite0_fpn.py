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

    Short side 512, a pyramid of 128 channels and lighter heads; batches of four for one GPU or a few cores.
    Not measured yet.
    """
    return Config(
        input=InputConfig(
            short_side=512,
            train_short_sides=(416, 448, 480, 512),
            long_side=853,
            mean=(127.0, 127.0, 127.0),  # Lite0 was trained on (pixel - 127) / 128
            std=(128.0, 128.0, 128.0),
        ),
        backbone=BackboneConfig(name="efficientnet_lite0", norm_epsilon=1e-3, weights="imagenet"),
        fpn=FpnConfig(channels=128),
        rpn=RpnConfig(channels=128, train_pre_nms=1000, train_post_nms=500, pre_nms=500, post_nms=200),
        box_head=BoxHeadConfig(dense_units=(512, 512), samples=128),
        mask_head=MaskHeadConfig(channels=128),
        train=TrainConfig(batch_size=4, clip_norm=10.0),
    )
