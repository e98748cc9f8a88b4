"""Config changes that several rows of the paper's tables share.

A change is a dict from the dotted name of a field to its value, or to a function of the base `Config` that
returns the value.
"""

from collections.abc import Callable
from typing import Any

from mask_rcnn.config import Config

PRESENT: dict[
    str, Any
] = {}  # value for a section: that of the base, or the defaults if the base has no such section
PAPER_STEPS = 160  # thousands of steps, for most tables (section 3.1)
PAPER_SIDE = 800  # short side of the images in the paper, in pixels


def half(name: str) -> Callable[[Config], int | float]:
    """Returns a function of a base config that gives half of a field of `train`, at least 1 for an int."""

    def value(base: Config) -> int | float:
        number = getattr(base.train, name)
        return max(1, number // 2) if isinstance(number, int) else number / 2

    return value


def schedule(steps: int, *milestones: int) -> dict[str, Callable[[Config], Any]]:
    """Returns the changes for a schedule, scaled to the number of steps of the base.

    Args:
        steps: Thousands of steps, if most tables have 160 thousand.
        milestones: Thousands of steps at which the learning rate drops.
    """

    def scaled(base: Config, thousands: int) -> int:
        return max(1, base.train.steps * thousands // PAPER_STEPS)

    return {
        "train.steps": lambda base: scaled(base, steps),
        "train.milestones": lambda base: tuple(sorted({scaled(base, step) for step in milestones})),
    }


def short_sides(low: int, high: int, step: int) -> Callable[[Config], tuple[int, ...]]:
    """Returns a function of a base config that returns training short sides, scaled to its test short side.

    Args:
        low, high, step: Short sides in pixels for a test short side of 800 pixels, `high` included.
    """
    sides = range(low, high + 1, step)
    return lambda base: tuple(max(1, round(base.input.short_side * side / PAPER_SIDE)) for side in sides)


# The fifth stage is applied to each RoI (figure 4, left). Settings of the RPN: section 3.1, detectron2.
C4 = {
    "backbone.last_stage": 4,
    "fpn": None,
    "anchors.strides": (16,),
    "rpn.channels": 1024,
    "rpn.train_pre_nms": 12_000,
    "rpn.train_post_nms": 2000,
    "rpn.pre_nms": 6000,
    "rpn.post_nms": 300,
    "box_head.pool_size": 14,
    "box_head.average_pool": True,
    "box_head.dense_units": (),
    "box_head.samples": 64,
    "mask_head.convs": 0,
}
# The heads are those of FPN, because there is no sixth stage that could be applied to each RoI (table 2d).
C5 = {
    "backbone.last_stage": 5,
    "fpn": None,
    "anchors.strides": (32,),
    "rpn.channels": 2048,
    "rpn.train_pre_nms": 12_000,
    "rpn.train_post_nms": 2000,
    "rpn.pre_nms": 6000,
}
FPN = {"backbone.last_stage": 5, "fpn": PRESENT}
# One image instead of two on each of eight GPUs, the same steps, half of the learning rate (section 3.1).
RESNEXT = {
    "backbone.name": "resnext101_64x4d",
    "train.batch_size": half("batch_size"),
    "train.reference_batch_size": half("reference_batch_size"),
    "train.learning_rate": half("learning_rate"),
}
R50, R101 = {"backbone.name": "resnet50"}, {"backbone.name": "resnet101"}
ALIGN, POOL, WARP = ({"roi_align.method": name} for name in ("roi_align", "roi_pool", "roi_warp"))
MAX, AVERAGE = {"roi_align.pooling": "max"}, {"roi_align.pooling": "average"}
FOUR_SAMPLES = {"roi_align.sampling_ratio": 2}  # 2 x 2 samples per bin (section 3)
ONLY_KEYPOINTS = {"mask_head": None, "keypoint_head": PRESENT}
BOTH = {"mask_head": PRESENT, "keypoint_head": PRESENT}
NMS = {"box_head.nms_iou": 0.3}  # for all rows before the updated baseline (appendix A)
SEPARATE_RPN, SHARED_RPN = ({"rpn.shared_features": shared} for shared in (False, True))  # section 3.1.1
# For table 8 from the second row on.
UPDATED = FPN | RESNEXT | {"box_head.nms_iou": 0.5}
END_TO_END = UPDATED | SHARED_RPN  # for table 8 from the third row on
AUGMENTED = {"input.train_short_sides": short_sides(640, 800, 32)}
