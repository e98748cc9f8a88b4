import dataclasses

from mask_rcnn.config import BoxHeadConfig, KeypointHeadConfig
from mask_rcnn.model_zoo.recipes.fine_tune import fine_tune


def keypoint_rcnn_lite0_fpn():
    """A few photographs of persons and their keypoints, one machine: EfficientNet-Lite0-FPN.

    With the paper's own keypoint branch, which costs more than all the rest: 16 RoIs an image and the 20 best
    detections, all that COCO counts, keep it affordable. 1,200 images are seen, two a step.

    Each image counts the same, not each keypoint: of a few photographs, one with a person of three visible
    keypoints would hardly count beside one with three persons of 16. Measured with 4 convolutions of 256
    channels, short side 320 and 800 steps on ten photographs of COCO, on which it was trained: keypoint AP
    0.978 and 0.949 with two seeds; 0.856 and 0.938 with `train.loss_normalization=batch`
    (`tests/test_keypoint_learning.py` has the data and the settings).
    """
    base = fine_tune()
    return dataclasses.replace(
        base,
        num_classes=1,
        box_head=BoxHeadConfig(
            dense_units=(256, 256), samples=128, positive_fraction=0.125, max_detections=20
        ),
        mask_head=None,
        keypoint_head=KeypointHeadConfig(),
        train=dataclasses.replace(base.train, loss_normalization="image"),
    )
