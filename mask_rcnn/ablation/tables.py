"""The tables of the paper: published results, and the config changes of each row.

Mask R-CNN, arXiv 1703.06870v3. AP is in percent, on COCO's minival unless a table says test-dev.
"""

import difflib

from mask_rcnn.ablation.changes import (
    ALIGN,
    AUGMENTED,
    AVERAGE,
    BOTH,
    C4,
    C5,
    END_TO_END,
    FOUR_SAMPLES,
    FPN,
    MAX,
    NMS,
    ONLY_KEYPOINTS,
    POOL,
    PRESENT,
    R50,
    R101,
    RESNEXT,
    SEPARATE_RPN,
    UPDATED,
    WARP,
    schedule,
)
from mask_rcnn.ablation.rows import Row, Table

KEYPOINT_RECIPE = "keypoint_rcnn_resnet50_fpn"
RESNEXT_NOTE = "the paper does not specify the groups of ResNeXt-101; these runs use 64x4d"
SCALES = tuple(side / 800 for side in range(400, 1201, 100))  # short sides of 400 to 1200 pixels (appendix A)
OTHER_SYSTEM = "another system with a different network and training"
SEPARATE_RPN_NOTE = (
    "the RPN has its own features as in the paper, but is trained in the same run as the heads"
)

BACKBONES = Table(
    key="2a",
    title="backbones",
    setting=NMS,
    rows=(
        Row(name="R50-C4", paper={"segm": (30.3, 51.2, 31.5)}, changes=R50 | C4),
        Row(name="R101-C4", paper={"segm": (32.7, 54.2, 34.3)}, changes=R101 | C4),
        Row(name="R50-FPN", paper={"segm": (33.6, 55.2, 35.3)}, changes=R50 | FPN),
        Row(name="R101-FPN", paper={"segm": (35.4, 57.3, 37.5)}, changes=R101 | FPN),
        Row(
            name="X101-FPN",
            paper={"segm": (36.7, 59.5, 38.9)},
            changes=RESNEXT | FPN,
            note=RESNEXT_NOTE,
        ),
    ),
)

MASK_LOSSES = Table(
    key="2b",
    title="mask loss with and without competition among classes, ResNet-50-C4",
    setting=R50 | C4 | NMS,
    rows=(
        Row(name="softmax", paper={"segm": (24.8, 44.1, 25.1)}, changes={"mask_head.loss": "softmax"}),
        Row(name="sigmoid", paper={"segm": (30.3, 51.2, 31.5)}, changes={"mask_head.loss": "sigmoid"}),
        Row(
            name="class-agnostic",
            paper={"segm": (29.7, None, None)},
            changes={"mask_head.loss": "sigmoid", "mask_head.class_agnostic": True},
            note="published in the text, not in the table",
        ),
    ),
)

POOLERS = Table(
    key="2c",
    title="RoI poolers, ResNet-50-C4",
    setting=R50 | C4 | NMS,
    rows=(
        Row(name="RoIPool max", paper={"segm": (26.9, 48.8, 26.4)}, changes=POOL),
        Row(name="RoIWarp max", paper={"segm": (27.2, 49.2, 27.1)}, changes=WARP | FOUR_SAMPLES | MAX),
        Row(
            name="RoIWarp average", paper={"segm": (27.1, 48.9, 27.1)}, changes=WARP | FOUR_SAMPLES | AVERAGE
        ),
        Row(name="RoIAlign max", paper={"segm": (30.2, 51.0, 31.8)}, changes=ALIGN | FOUR_SAMPLES | MAX),
        Row(
            name="RoIAlign average",
            paper={"segm": (30.3, 51.2, 31.5)},
            changes=ALIGN | FOUR_SAMPLES | AVERAGE,
        ),
    ),
)

LARGE_STRIDE = Table(
    key="2d",
    title="RoIAlign with a stride of 32 pixels, ResNet-50-C5",
    setting=R50 | C5 | NMS,
    iou_types=("segm", "bbox"),
    rows=(
        Row(
            name="RoIPool",
            paper={"segm": (23.6, 46.5, 21.6), "bbox": (28.2, 52.7, 26.9)},
            changes=POOL,
        ),
        Row(
            name="RoIAlign",
            paper={"segm": (30.9, 51.8, 32.1), "bbox": (34.0, 55.3, 36.4)},
            changes=ALIGN,
        ),
    ),
)

MASK_BRANCHES = Table(
    key="2e",
    title="mask branch with fully connected layers or with convolutions, ResNet-50-FPN",
    setting=R50 | FPN | NMS,
    rows=(
        Row(
            name="MLP 1024-1024",
            paper={"segm": (31.5, 53.7, 32.8)},
            changes={"mask_head.convs": 0, "mask_head.dense_units": (1024, 1024)},
        ),
        Row(
            name="MLP 1024-1024-1024",
            paper={"segm": (31.5, 54.0, 32.6)},
            changes={"mask_head.convs": 0, "mask_head.dense_units": (1024, 1024, 1024)},
        ),
        Row(name="FCN", paper={"segm": (33.6, 55.2, 35.3)}, changes={"mask_head.dense_units": ()}),
    ),
)

BOXES = Table(
    key="3",
    title="boxes",
    setting=NMS,
    iou_types=("bbox",),
    split="test-dev",
    rows=(
        Row(name="Faster R-CNN+++ R101-C4", paper={"bbox": (34.9, 55.7, 37.4)}, missing=OTHER_SYSTEM),
        Row(name="Faster R-CNN FPN R101", paper={"bbox": (36.2, 59.1, 39.0)}, missing=OTHER_SYSTEM),
        Row(name="Faster R-CNN G-RMI", paper={"bbox": (34.7, 55.5, 36.7)}, missing=OTHER_SYSTEM),
        Row(name="Faster R-CNN TDM", paper={"bbox": (36.8, 57.7, 39.2)}, missing=OTHER_SYSTEM),
        Row(
            name="Faster R-CNN RoIAlign R101-FPN",
            paper={"bbox": (37.3, 59.6, 40.3)},
            changes=R101 | FPN | ALIGN | {"mask_head": None},
        ),
        Row(
            name="Mask R-CNN R101-FPN",
            paper={"bbox": (38.2, 60.3, 41.7)},
            changes=R101 | FPN | ALIGN | {"mask_head": PRESENT},
        ),
        Row(
            name="Mask R-CNN X101-FPN",
            paper={"bbox": (39.8, 62.3, 43.4)},
            changes=RESNEXT | FPN | ALIGN | {"mask_head": PRESENT},
            note=RESNEXT_NOTE,
        ),
    ),
)

KEYPOINTS = Table(
    key="4",
    title="keypoints, ResNet-50-FPN",
    recipe=KEYPOINT_RECIPE,
    iou_types=("keypoints",),
    split="test-dev",
    rows=(
        Row(name="CMU-Pose+++", paper={"keypoints": (61.8, 84.9, 67.5)}, missing=OTHER_SYSTEM),
        Row(name="G-RMI", paper={"keypoints": (62.4, 84.0, 68.5)}, missing=OTHER_SYSTEM),
        Row(name="keypoints only", paper={"keypoints": (62.7, 87.0, 68.4)}, changes=ONLY_KEYPOINTS),
        Row(name="keypoints and masks", paper={"keypoints": (63.1, 87.3, 68.7)}, changes=BOTH),
    ),
)

PERSONS = Table(
    key="5",
    title="multi-task learning for persons, ResNet-50-FPN",
    recipe=KEYPOINT_RECIPE,
    iou_types=("bbox", "segm", "keypoints"),
    rows=(
        Row(
            name="Faster R-CNN",
            paper={"bbox": (52.5, None, None)},
            changes={"mask_head": None, "keypoint_head": None},
        ),
        Row(
            name="masks only",
            paper={"bbox": (53.6, None, None), "segm": (45.8, None, None)},
            changes={"mask_head": PRESENT, "keypoint_head": None},
        ),
        Row(
            name="keypoints only",
            paper={"bbox": (50.7, None, None), "keypoints": (64.2, None, None)},
            changes=ONLY_KEYPOINTS,
        ),
        Row(
            name="keypoints and masks",
            paper={"bbox": (52.0, None, None), "segm": (45.1, None, None), "keypoints": (64.7, None, None)},
            changes=BOTH,
        ),
    ),
)

KEYPOINT_POOLERS = Table(
    key="6",
    title="RoIAlign for keypoints, ResNet-50-FPN",
    recipe=KEYPOINT_RECIPE,
    iou_types=("keypoints",),
    rows=(
        Row(
            name="RoIPool",
            paper={"keypoints": (59.8, 86.2, 66.7)},
            changes=POOL | {"keypoint_head": PRESENT},
        ),
        Row(
            name="RoIAlign",
            paper={"keypoints": (64.2, 86.6, 69.7)},
            changes=ALIGN | {"keypoint_head": PRESENT},
        ),
    ),
)

ADDITIONS = Table(
    key="8",
    title="successive improvements, ResNeXt-101-FPN",
    iou_types=("segm", "bbox"),
    rows=(
        Row(
            name="baseline",
            paper={"segm": (36.7, 59.5, 38.9), "bbox": (39.6, 61.5, 43.2)},
            changes=FPN | RESNEXT | NMS | SEPARATE_RPN,
            note=f"{SEPARATE_RPN_NOTE}; {RESNEXT_NOTE}",
        ),
        Row(
            name="+ updated baseline",
            paper={"segm": (37.0, 59.7, 39.0), "bbox": (40.5, 63.0, 43.7)},
            changes=UPDATED | SEPARATE_RPN | schedule(180, 120, 160),
            note=f"{SEPARATE_RPN_NOTE}; {RESNEXT_NOTE}",
        ),
        Row(
            name="+ end-to-end training",
            paper={"segm": (37.6, 60.4, 39.9), "bbox": (41.7, 64.1, 45.2)},
            changes=END_TO_END | schedule(180, 120, 160),
            note=RESNEXT_NOTE,
        ),
        Row(
            name="+ ImageNet-5k",
            paper={"segm": (38.6, 61.7, 40.9), "bbox": (42.7, 65.1, 46.6)},
            missing="no weights of a classifier of 5,000 classes are published",
        ),
        Row(
            name="+ augmentation in training",
            paper={"segm": (39.2, 62.5, 41.6), "bbox": (43.5, 65.9, 47.2)},
            changes=END_TO_END | schedule(260, 200, 240) | AUGMENTED,
            note=f"without ImageNet-5k; {RESNEXT_NOTE}",
        ),
        Row(
            name="+ ResNeXt-152",
            paper={"segm": (39.7, 63.2, 42.2), "bbox": (44.1, 66.4, 48.4)},
            missing="there is no ResNeXt-152 among the backbones",
        ),
        Row(
            name="+ non-local block",
            paper={"segm": (40.3, 64.4, 42.8), "bbox": (45.0, 67.8, 48.9)},
            missing="there is no backbone with a non-local block",
        ),
        Row(
            name="+ augmentation in tests",
            paper={"segm": (41.8, 66.0, 44.8), "bbox": (47.3, 69.3, 51.5)},
            trained_as="+ augmentation in training",
            scales=SCALES,
            note="without ImageNet-5k, ResNeXt-152 and the non-local block",
        ),
    ),
)

TABLES = {
    table.key: table
    for table in (
        *(BACKBONES, MASK_LOSSES, POOLERS, LARGE_STRIDE, MASK_BRANCHES),
        *(BOXES, KEYPOINTS, PERSONS, KEYPOINT_POOLERS, ADDITIONS),
    )
}


def find_table(key: str) -> Table:
    """Returns the `Table` with a number such as "2c". Raises a ValueError if there is none.

    >>> find_table("2c").rows[0].name
    'RoIPool max'
    """
    if key not in TABLES:
        close = difflib.get_close_matches(key, TABLES, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(
            f"Expected a table of the paper, one of {', '.join(TABLES)}. Received: {key!r}. "
            f"{hint}See `mask-rcnn ablate --list`."
        )
    return TABLES[key]
