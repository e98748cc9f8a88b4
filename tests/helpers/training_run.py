"""`training_run.py FOLDER [STEP]`: a tiny run on shapes. With STEP it is killed after that step."""

import dataclasses
import os
import sys
from pathlib import Path

from training_toy import kill_after

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    DataConfig,
    FpnConfig,
    InputConfig,
    MaskHeadConfig,
    RpnConfig,
    TrainConfig,
)
from mask_rcnn.training.train import train

TINY = Config(
    num_classes=3,
    input=InputConfig(
        short_side=64, train_short_sides=(48, 64), long_side=64, max_instances=8, mask_crop_size=28
    ),
    backbone=BackboneConfig(name="efficientnet_lite0", norm_epsilon=1e-3, weights="imagenet"),
    fpn=FpnConfig(channels=16),
    anchors=AnchorConfig(sizes=(8, 16, 32, 64, 128)),
    rpn=RpnConfig(channels=16, train_pre_nms=50, train_post_nms=20, pre_nms=50, post_nms=20, samples=16),
    box_head=BoxHeadConfig(dense_units=(16,), samples=8, max_detections=5),
    mask_head=MaskHeadConfig(convs=1, channels=8),
    data=DataConfig(shapes_train=8, shapes_val=2, shapes_size=(64, 64)),
    train=TrainConfig(
        batch_size=4,
        reference_batch_size=4,
        steps=10,
        learning_rate=0.002,
        milestones=(8,),
        warmup_steps=2,
        clip_norm=5.0,
        ema_decay=0.9,
        checkpoint_every=3,
        evaluate_every=6,
    ),
)


# For tests that kill the run: many steps, checkpoints and evaluations in a short time.
KILLED = dataclasses.replace(
    TINY,
    train=dataclasses.replace(
        TINY.train, steps=60, milestones=(50,), checkpoint_every=2, evaluate_every=4, validation_loss=True
    ),
)


def train_quietly(config, folder, output):
    """Runs `train`, and appends its output to a file."""
    with open(output, "a") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    train(config, folder)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_after(int(sys.argv[2]))
    train(TINY, Path(sys.argv[1]))
