from mask_rcnn.config import BackboneConfig, Config


def mask_rcnn_resnet101_fpn():
    """Mask R-CNN, ResNet-101-FPN, on COCO as the paper trains it (section 3.1).

    The schedule of `mask_rcnn_resnet50_fpn`. The paper reports mask AP 35.4 on minival (table 2a)
    and 44 hours on 8 GPUs (section 4.4). Ours: not measured yet.
    """
    return Config(backbone=BackboneConfig(name="resnet101"))
