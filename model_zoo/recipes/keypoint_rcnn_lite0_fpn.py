import dataclasses

from mask_rcnn.config import BoxHeadConfig, KeypointHeadConfig, TrainConfig
from mask_rcnn.model_zoo.recipes.mask_rcnn_lite0_fpn import mask_rcnn_lite0_fpn


def keypoint_rcnn_lite0_fpn():
    """Photographs of persons with keypoints, one machine: EfficientNet-Lite0-FPN, the paper's own branch."""
    return dataclasses.replace(
        mask_rcnn_lite0_fpn(),
        num_classes=1,
        box_head=BoxHeadConfig(dense_units=(256, 256), samples=64, max_detections=20),
        mask_head=None,
        keypoint_head=KeypointHeadConfig(),
        train=TrainConfig(
            batch_size=1,
            reference_batch_size=1,
            steps=1000,
            learning_rate=0.005,
            milestones=(800,),
            warmup_steps=50,
            clip_norm=10.0,
            checkpoint_every=100,
            evaluate_every=200,
        ),
    )
