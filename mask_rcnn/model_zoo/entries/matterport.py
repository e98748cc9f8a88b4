"""Weights of matterport/Mask_RCNN: the only file of its release 2.0."""

from mask_rcnn.model_zoo.entries.entry import Entry

ENTRIES = (
    Entry(
        name="matterport/mask_rcnn_coco",
        description="Mask R-CNN R101-FPN, 1024 x 1024, COCO",
        url="https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        file_format="h5",
        license="MIT (the repository's)",
        source="matterport/Mask_RCNN, mrcnn/utils.py (COCO_MODEL_URL)",
        published="release notes of 2.0, COCO 2014 minival",
        box_ap=34.7,
        mask_ap=29.6,
        unconfirmed=(
            "hash: none is published",
            "AP: the release notes as maskrcnn-benchmark#449 quotes them; "
            "users report 23 to 26 (matterport #1, #152)",
        ),
    ),
)
