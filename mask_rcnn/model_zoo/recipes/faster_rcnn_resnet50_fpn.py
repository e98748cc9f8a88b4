from mask_rcnn.config import Config


def faster_rcnn_resnet50_fpn():
    """Faster R-CNN, ResNet-50-FPN: `mask_rcnn_resnet50_fpn` without its mask branch.

    Only boxes: the data need no segmentation. Not measured yet.
    """
    return Config(mask_head=None)
