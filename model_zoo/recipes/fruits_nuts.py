import dataclasses

from mask_rcnn.config import TrainConfig
from mask_rcnn.model_zoo.recipes.mask_rcnn_lite0_fpn import mask_rcnn_lite0_fpn


def fruits_nuts():
    """A fine-tune on a few photographs: EfficientNet-Lite0-FPN, half an hour on two cores.

    Made for the set `fruits_nuts` (18 photographs, three classes); name its files with
    --train-annotations and so on. Not measured yet.
    """
    return dataclasses.replace(
        mask_rcnn_lite0_fpn(),
        train=TrainConfig(
            batch_size=2,
            reference_batch_size=2,
            steps=600,
            learning_rate=0.01,
            milestones=(480,),
            warmup_steps=60,
            clip_norm=10.0,
            checkpoint_every=100,
            evaluate_every=200,
        ),
    )
