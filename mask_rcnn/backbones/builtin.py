"""Built-in networks: ResNets, ResNeXts and EfficientNet-Lite0."""

from mask_rcnn.backbones.backbone import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, Backbone
from mask_rcnn.config import BackboneConfig
from mask_rcnn.networks.efficientnet_lite import efficientnet_lite0
from mask_rcnn.networks.resnet import BLOCKS, resnet, roi_stage


def _build_resnet(config: BackboneConfig) -> Backbone:
    """ResNet (He et al. 2016) or ResNeXt (Xie et al. 2017), C2..C5."""
    conventions = {
        "norm": config.norm,
        "norm_epsilon": config.norm_epsilon,
        "stride_in_1x1": config.stride_in_1x1,
        "frozen_stages": config.frozen_stages,
    }
    model = resnet(
        config.name,
        config.last_stage,
        dilated_c5=config.dilated_c5,
        stem_pool_padding=config.stem_pool_padding,
        **conventions,
    )
    strides = (4, 8, 16, 16 if config.dilated_c5 else 32)
    return Backbone(
        model=model,
        strides=strides[: config.last_stage - 1],
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        roi_stage=roi_stage(config.name, **conventions) if config.last_stage == 4 else None,
    )


for _name in BLOCKS:
    BACKBONES.register(_name)(_build_resnet)


@BACKBONES.register("efficientnet_lite0")
def _build_efficientnet_lite0(config: BackboneConfig) -> Backbone:
    """EfficientNet-B0 (Tan and Le 2019) adapted to mobile devices, C2..C5."""
    return Backbone(
        model=efficientnet_lite0(config.norm, config.frozen_stages),
        strides=(4, 8, 16, 32),
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
    )
