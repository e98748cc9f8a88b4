"""matterport/Mask_RCNN: the one file of its release 2.0."""

from mask_rcnn.model_zoo.entries.entry import Entry

ENTRIES = (
    Entry(
        name="matterport/mask_rcnn_coco",
        what="Mask R-CNN R101-FPN, 1024 x 1024, COCO trainval35k",
        url="https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        file_format="h5",
        licence="MIT (the repository's)",
        source="matterport/Mask_RCNN, mrcnn/utils.py (COCO_MODEL_URL)",
        box_ap=34.7,
        mask_ap=29.6,
        unconfirmed=(
            "hash: none is published",
            "AP: of the release notes as maskrcnn-benchmark#449 quotes them; its users report 20 to 26",
        ),
    ),
)
