import dataclasses

from mask_rcnn.config import TrainConfig
from mask_rcnn.model_zoo.recipes.mask_rcnn_lite0_fpn import mask_rcnn_lite0_fpn


def fine_tune():
    """A few photographs of one's own, one machine: EfficientNet-Lite0-FPN, 15 minutes on two cores.

    What `mask-rcnn train --train-annotations ...` does unless told otherwise. 1,200 images are seen, two a
    step; for more than about a hundred photographs raise `train.steps` and `train.milestones`.
    Measured on 14 photographs of dried fruit (three classes, four others to validate on): segm AP 0.817
    and 0.820, AP50 1.0, box AP 0.713 and 0.710 in two runs, of 14 CPU-minutes each.
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
