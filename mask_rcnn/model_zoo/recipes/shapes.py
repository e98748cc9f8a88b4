import dataclasses

from mask_rcnn.config import AnchorConfig
from mask_rcnn.model_zoo.recipes.fine_tune import fine_tune


def shapes():
    """The demo: synthetic overlapping shapes of 128 x 128 pixels, minutes on two cores.

    Needs no data: the images are made. Measured: segm AP 0.726 and box AP 0.699 on 40 held-out
    images in one run, of 11 CPU-minutes on AVX2 cores.
    """
    base = fine_tune()
    return dataclasses.replace(
        base,
        input=dataclasses.replace(base.input, short_side=128, train_short_sides=(128,), long_side=128),
        anchors=AnchorConfig(sizes=(12, 24, 48, 96, 192)),
        box_head=dataclasses.replace(base.box_head, samples=64),
        mask_head=dataclasses.replace(base.mask_head, convs=2),
        train=dataclasses.replace(base.train, batch_size=4, reference_batch_size=4, evaluate_every=0),
    )
