import dataclasses

from mask_rcnn.config import TrainConfig
from mask_rcnn.model_zoo.recipes.mask_rcnn_lite0_fpn import mask_rcnn_lite0_fpn


def fruits_nuts():
    """A fine-tune on a few photographs: three classes, EfficientNet-Lite0-FPN, half an hour on two cores.

    Made for the set `fruits_nuts` (18 photographs); name its files with --train-annotations and so on.
    Not measured yet.
    """
    base = mask_rcnn_lite0_fpn()
    return dataclasses.replace(
        base,
        num_classes=3,
        train=TrainConfig(
            batch_size=2,
            reference_batch_size=2,
            steps=500,
            learning_rate=0.005,
            milestones=(400,),
            warmup_steps=50,
            clip_norm=10.0,
            checkpoint_every=100,
            evaluate_every=100,
        ),
    )
