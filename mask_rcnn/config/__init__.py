"""Configuration of model, data and training: frozen dataclasses, which `config_io` converts from and to YAML.

Only builders (`model/`, `data/input_pipeline/pipeline.py`, `training/train.py`, ...) read a config. Layers
and ops get plain numbers. Conventions in which published systems differ are fields here, never branches on
the name of a system. Sizes are (height, width), in pixels of the resized image.
"""

from dataclasses import dataclass, field
from typing import Any

from mask_rcnn.config.checks import check
from mask_rcnn.config.heads import HeadSections, head_sections
from mask_rcnn.config.input import InputConfig
from mask_rcnn.config.network import AnchorConfig, BackboneConfig, FpnConfig, RpnConfig
from mask_rcnn.config.ranges import (
    LOSS_NORMALIZATIONS,
    NORMS,
    PRECISIONS,
    STRATEGIES,
    check_ranges,
)
from mask_rcnn.config.roi_heads import (
    BoxHeadConfig,
    CascadeConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    RoiAlignConfig,
)
from mask_rcnn.config.training import DataConfig, TrainConfig

__all__ = [
    "LOSS_NORMALIZATIONS",
    "NORMS",
    "PRECISIONS",
    "STRATEGIES",
    "AnchorConfig",
    "BackboneConfig",
    "BoxHeadConfig",
    "CascadeConfig",
    "Config",
    "DataConfig",
    "FpnConfig",
    "InputConfig",
    "KeypointHeadConfig",
    "MaskHeadConfig",
    "RoiAlignConfig",
    "RpnConfig",
    "TrainConfig",
]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Configuration of a whole experiment. The defaults are Mask R-CNN with ResNet-50-FPN as in the paper."""

    num_classes: int = 80  # without background; 0: the number of classes of the data set
    inclusive_boxes: bool = False  # the far edge of a box is its last pixel (matterport), not one past it
    input: InputConfig = field(default_factory=InputConfig)  # images: size, normalization, augmentation
    backbone: BackboneConfig = field(default_factory=BackboneConfig)  # network that computes feature maps
    fpn: FpnConfig | None = field(default_factory=FpnConfig)  # None: only the last map of the backbone
    anchors: AnchorConfig = field(default_factory=AnchorConfig)  # boxes that the RPN starts from
    rpn: RpnConfig = field(default_factory=RpnConfig)  # region proposal network
    roi_align: RoiAlignConfig = field(default_factory=RoiAlignConfig)  # RoI pooling
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)  # class and box of each RoI
    cascade: CascadeConfig | None = None  # several box heads; None: one
    mask_head: MaskHeadConfig | None = field(default_factory=MaskHeadConfig)  # None: Faster R-CNN
    keypoint_head: KeypointHeadConfig | None = None  # None: no keypoints
    heads: HeadSections = field(default_factory=HeadSections)  # user heads, see `register_head`
    data: DataConfig = field(default_factory=DataConfig)  # training and validation set
    train: TrainConfig = field(default_factory=TrainConfig)  # training recipe

    def head_settings(self) -> dict[str, Any]:
        """Returns `{name: section}` of all heads except the box head, in building order.

        A section is a `MaskHeadConfig`, a `KeypointHeadConfig` or the dataclass of a registered head.
        """
        sections = {"mask": self.mask_head, "keypoint": self.keypoint_head, **self.heads}
        return {name: section for name, section in sections.items() if section is not None}

    def __post_init__(self):
        object.__setattr__(self, "heads", head_sections(self.heads))
        check_ranges(self)
        check(
            self.fpn is not None or len(self.anchors.strides) == 1,
            "Without an FPN, `anchors.strides` must contain a single stride.",
            strides=self.anchors.strides,
        )
        check(
            self.cascade is None or self.box_head.class_agnostic,
            "A cascade needs one box for all classes. Set `box_head.class_agnostic` to true.",
            class_agnostic=self.box_head.class_agnostic,
        )
        check(
            self.fpn is None or self.backbone.last_stage == 5,
            "An FPN needs all stages of the backbone. Set `backbone.last_stage` to 5.",
            last_stage=self.backbone.last_stage,
        )
        check(
            self.rpn.shared_features
            or self.fpn is not None
            or self.backbone.frozen_stages < self.backbone.last_stage,
            "If all stages of the backbone are frozen, RPN and heads get the same features. Set "
            "`rpn.shared_features` to true, or reduce `backbone.frozen_stages`.",
            shared_features=self.rpn.shared_features,
            frozen_stages=self.backbone.frozen_stages,
            fpn=self.fpn,
        )
