import dataclasses

from mask_rcnn.config import AnchorConfig
from mask_rcnn.model_zoo.recipes.fine_tune import fine_tune


def nuclei():
    """Many small objects: small anchors, up to 400 objects an image.

    Made for the set `nuclei_dsb2018` (664 microscopy images, 28,986 nuclei); name its files with
    --train-annotations and so on. With SGD and without group normalization: segm AP 0.509 to 0.517 and
    box AP 0.480 to 0.491 on the 100 images to validate on, in three runs of 19 CPU-minutes with AVX512. Its
    present settings are those of `fine_tune` and not measured on this set.
    """
    base = fine_tune()
    return dataclasses.replace(
        base,
        input=dataclasses.replace(
            base.input, short_side=384, train_short_sides=(384,), long_side=768, max_instances=400
        ),
        anchors=AnchorConfig(sizes=(12, 24, 48, 96, 192)),
        rpn=dataclasses.replace(base.rpn, pre_nms=1000, post_nms=1000),
        box_head=dataclasses.replace(base.box_head, max_detections=400),
        train=dataclasses.replace(base.train, batch_size=4, reference_batch_size=4),
    )
