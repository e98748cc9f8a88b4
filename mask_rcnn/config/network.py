"""Configuration of backbone, FPN, anchors and RPN."""

from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The network that converts an image to maps such as C2..C5.

    Only built-in networks use `norm_epsilon` and the fields from `stride_in_1x1` to `dilated_c5`.
    """

    name: str = "resnet50"  # see `mask-rcnn config list`, such as keras.applications/MobileNetV3Small
    norm: str = "frozen_batch_norm"  # normalization of all convolutions
    norm_epsilon: float = 1e-5  # added to the variance; 0 for torchvision's COCO_V1 weights
    stride_in_1x1: bool = False  # stride in the 1x1 convolution (MSRA) or in the 3x3 (torchvision)
    stem_pool_padding: str = "symmetric"  # "same" pads at the bottom and right only (matterport)
    last_stage: int = 5  # 4: the fifth stage is applied to each RoI, before the heads (ResNet-C4)
    dilated_c5: bool = False  # C5 keeps the stride of C4 and dilates its 3x3 convolutions (DC5)
    frozen_stages: int = 2  # number of stages that are not trained: stage 1 is the stem, stage 2 ends with C2
    weights: str | None = "imagenet"  # or a file, or a name of `models list`; None: random

    def __post_init__(self):
        check_ranges(self, "backbone.")
        check(
            "resne" in self.name or (self.last_stage == 5 and not self.dilated_c5),
            "Only a ResNet supports `last_stage=4` and `dilated_c5`.",
            name=self.name,
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )
        check(
            not (self.dilated_c5 and self.last_stage == 4),
            "`dilated_c5` needs a fifth stage in the backbone. Set `last_stage` to 5.",
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )


@dataclass(frozen=True, kw_only=True)
class FpnConfig:
    """Feature pyramid network with one level for each of `anchors.strides` (FPN, section 3)."""

    channels: int = 256  # of each level
    norm: str = "none"  # normalization of the convolutions
    norm_epsilon: float = 1e-5  # added to the variance

    def __post_init__(self):
        check_ranges(self, "fpn.")


@dataclass(frozen=True, kw_only=True)
class AnchorConfig:
    """Anchor boxes: one size per pyramid level (FPN, section 4.1), or all sizes on a single map."""

    sizes: tuple[int, ...] = (32, 64, 128, 256, 512)  # sqrt(area), pixels
    strides: tuple[int, ...] = (4, 8, 16, 32, 64)  # of P2..P6, pixels
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # round the corners of base anchors to whole pixels (torchvision)
    stride_from_padded_size: bool = False  # stride is padded side // map side (torchvision; P6: often 61)

    def __post_init__(self):
        check_ranges(self, "anchors.")
        check(
            len(self.strides) in (1, len(self.sizes)),
            "AnchorConfig needs one size for each stride, or a single stride.",
            sizes=self.sizes,
            strides=self.strides,
        )


@dataclass(frozen=True, kw_only=True)
class RpnConfig:
    """Region proposal network (Faster R-CNN, section 3.1).

    With `shared_features=False` the RPN has its own backbone and FPN, as in the paper's ablations (section
    3.1.1). Differs from the paper: there, the RPN is trained first, then the heads on its final proposals.
    Here both are trained in one run, each by its own losses only.
    """

    shared_features: bool = True  # RPN and heads share backbone and FPN; False: each has its own
    channels: int = 256  # of the 3x3 convolutions
    convs: int = 1  # number of 3x3 convolutions
    train_pre_nms: int = 2000  # candidates per level before NMS, in training
    train_post_nms: int = 1000  # proposals per image after NMS, in training
    pre_nms: int = 1000  # candidates per level before NMS, at inference
    post_nms: int = 1000  # proposals per image after NMS, at inference
    nms_iou: float = 0.7  # IoU above which the lower-scored proposal is dropped
    joint_levels: bool = False  # select candidates and apply NMS over all levels together (matterport)
    min_size: float = 0.0  # minimum side of proposals, pixels; torchvision: 1e-3; matterport: -1 (no minimum)
    clamp_deltas: bool = True  # a side grows at most 1000 / 16 times; matterport has no limit
    positive_iou: float = 0.7  # anchors are positive from this IoU on
    negative_iou: float = 0.3  # anchors are negative below this IoU
    samples: int = 256  # sampled anchors per image
    positive_fraction: float = 0.5  # maximum fraction of positives among the samples
    box_loss: str = "smooth_l1"  # or "giou" (Rezatofighi et al. 2019)
    box_loss_beta: float = 0.0  # transition point of smooth-L1; 0: L1; Faster R-CNN and torchvision: 1/9

    def __post_init__(self):
        check_ranges(self, "rpn.")
        check(
            self.negative_iou <= self.positive_iou,
            "`rpn.negative_iou` must be at most `rpn.positive_iou`.",
            negative_iou=self.negative_iou,
            positive_iou=self.positive_iou,
        )
