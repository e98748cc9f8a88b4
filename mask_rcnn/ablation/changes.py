"""Changes of a config that the rows of the paper's tables have in common.

A change is a dict from the dotted name of a field to its value, or to a function of the base `Config` where
the value depends on it.
"""

PRESENT = {}  # of a section: the base's, or the defaults if the base has none
PAPER_STEPS = 160  # thousands, of most tables (section 3.1)
PAPER_SIDE = 800  # pixels of the short side


def half(name):
    """Returns a function of a base that gives half of a field of its `train` section; 1 is not halved."""

    def value(base):
        number = getattr(base.train, name)
        return max(1, number // 2) if isinstance(number, int) else number / 2

    return value


def schedule(steps, *milestones):
    """Returns the changes to a schedule, given in thousands of steps where most tables have 160.

    With a base of other steps, they change in proportion.
    """

    def scaled(base, thousands):
        return max(1, base.train.steps * thousands // PAPER_STEPS)

    return {
        "train.steps": lambda base: scaled(base, steps),
        "train.milestones": lambda base: tuple(sorted({scaled(base, each) for each in milestones})),
    }


def short_sides(low, high, step):
    """Returns a function of a base that gives training sides, in proportion to its side at inference."""
    sides = range(low, high + 1, step)
    return lambda base: tuple(max(1, round(base.input.short_side * side / PAPER_SIDE)) for side in sides)


# The fifth stage is applied to each RoI (figure 4, left). RPN and numbers of boxes: section 3.1, detectron2.
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
# The heads are those of the FPN: there is no sixth stage that could be applied to each RoI (table 2d).
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
# One image on each of eight GPUs, the same number of steps, half of the learning rate (section 3.1).
RESNEXT = {
    "backbone.name": "resnext101_64x4d",
    "train.batch_size": half("batch_size"),
    "train.reference_batch_size": half("reference_batch_size"),
    "train.learning_rate": half("learning_rate"),
}
R50, R101 = {"backbone.name": "resnet50"}, {"backbone.name": "resnet101"}
ALIGN, POOL, WARP = ({"roi_align.method": name} for name in ("roi_align", "roi_pool", "roi_warp"))
MAX, AVERAGE = {"roi_align.pooling": "max"}, {"roi_align.pooling": "average"}
FOUR_SAMPLES = {"roi_align.sampling_ratio": 2}  # of a bin (section 3)
ONLY_KEYPOINTS = {"mask_head": None, "keypoint_head": PRESENT}
BOTH = {"mask_head": PRESENT, "keypoint_head": PRESENT}
NMS = {"box_head.nms_iou": 0.3}  # until the updated baseline (appendix A)
OWN_RPN, SHARED_RPN = ({"rpn.shared_features": shared} for shared in (False, True))  # section 3.1.1
# From the second row of table 8 on.
UPDATED = FPN | RESNEXT | {"box_head.nms_iou": 0.5}
END_TO_END = UPDATED | SHARED_RPN  # from the third row on
AUGMENTED = {"input.train_short_sides": short_sides(640, 800, 32)}
