from mask_rcnn.config import BoxHeadConfig, Config, InputConfig, KeypointHeadConfig, RpnConfig, TrainConfig


def keypoint_rcnn_resnet50_fpn():
    """Persons and their 17 keypoints, ResNet-50-FPN, on COCO as the paper trains it (section 5).

    90,000 steps of 16 images with short sides of 640 to 800 pixels, learning rate 0.02, divided by ten at
    60,000 and 80,000; proposals and box loss as detectron2's. For `person_keypoints_train2017.json`, of which
    images without keypoints are left out. The paper reports keypoint AP 62.7 on test-dev, 63.1 with a mask
    branch beside it (table 4). Ours: not measured yet.
    """
    return Config(
        num_classes=1,
        input=InputConfig(train_short_sides=(640, 672, 704, 736, 768, 800)),
        rpn=RpnConfig(train_post_nms=1500),
        box_head=BoxHeadConfig(box_loss_beta=0.5),
        mask_head=None,
        keypoint_head=KeypointHeadConfig(),
        train=TrainConfig(steps=90_000, milestones=(60_000, 80_000)),
    )
