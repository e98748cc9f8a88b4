from mask_rcnn.config import Config


def mask_rcnn_resnet50_fpn():
    """Mask R-CNN, ResNet-50-FPN, on COCO as the paper trains it (section 3.1).

    160,000 steps of 16 images, learning rate 0.02, divided by ten at 120,000. The paper reports mask AP 33.6
    on minival (table 2a) and 32 hours on 8 GPUs (section 4.4). Ours: not measured yet.
    """
    return Config()
