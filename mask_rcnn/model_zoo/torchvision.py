"""torchvision's detectors: their conventions as configs, and the table of their weight names."""

from collections.abc import Callable
from dataclasses import replace

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    FpnConfig,
    InputConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    RoiAlignConfig,
    RpnConfig,
)
from mask_rcnn.model_zoo.coco import COCO_CATEGORIES_WITH_GAPS, COCO_PERSON
from mask_rcnn.model_zoo.convert import Row, affine_rows, flattened_dense, norm_rows
from mask_rcnn.model_zoo.preset import Preset
from mask_rcnn.structures import Category

NUM_CLASSES = 90  # torchvision keeps the gaps in COCO's category ids
MASK_HEAD = MaskHeadConfig(paste="padded_resize")
KEYPOINT_TRAIN_SIDES = (640, 672, 704, 736, 768, 800)


def maskrcnn_resnet50_fpn(num_classes: int = NUM_CLASSES) -> Config:
    """Returns the `Config` of `maskrcnn_resnet50_fpn` with its COCO_V1 weights.

    Args:
        num_classes: Number of classes without background. Defaults to 90.
    """
    return Config(
        num_classes=num_classes,
        input=InputConfig(size_rounding="floor"),
        backbone=BackboneConfig(norm_epsilon=0.0),
        anchors=AnchorConfig(rounded=True, stride_from_padded_size=True),
        rpn=RpnConfig(min_size=1e-3, train_post_nms=2000, box_loss_beta=1 / 9),
        roi_align=RoiAlignConfig(aligned=False, level_epsilon=0.0, level_offset=1e-6),
        box_head=BoxHeadConfig(min_size=1e-2, box_loss_beta=1 / 9),
        mask_head=MASK_HEAD,
    )


def maskrcnn_resnet50_fpn_v2() -> Config:
    """Returns the `Config` of `maskrcnn_resnet50_fpn_v2`: batch normalization outside the backbone, too."""
    config = maskrcnn_resnet50_fpn()
    return replace(
        config,
        backbone=BackboneConfig(norm="batch_norm"),
        fpn=FpnConfig(norm="batch_norm"),
        rpn=replace(config.rpn, convs=2),
        box_head=replace(config.box_head, convs=4, norm="batch_norm", dense_units=(1024,)),
        mask_head=replace(MASK_HEAD, norm="batch_norm"),
    )


def fasterrcnn_resnet50_fpn() -> Config:
    """Returns the `Config` of `fasterrcnn_resnet50_fpn` with its COCO_V1 weights."""
    return replace(maskrcnn_resnet50_fpn(), mask_head=None)


def fasterrcnn_resnet50_fpn_v2() -> Config:
    """Returns the `Config` of `fasterrcnn_resnet50_fpn_v2`."""
    return replace(maskrcnn_resnet50_fpn_v2(), mask_head=None)


def keypointrcnn_resnet50_fpn() -> Config:
    """Returns the `Config` of `keypointrcnn_resnet50_fpn` with its COCO_V1 weights."""
    config = fasterrcnn_resnet50_fpn()
    return replace(
        config,
        num_classes=1,
        input=replace(config.input, train_short_sides=KEYPOINT_TRAIN_SIDES),
        keypoint_head=KeypointHeadConfig(half_pixel=False),
    )


def resnet_table(prefix: str) -> list[Row]:
    """Returns the table rows of a ResNet backbone whose names begin with the pattern `prefix`."""
    rows: list[Row] = [(f"{prefix}conv1.weight", "backbone/stem/kernel", "conv")]
    rows += norm_rows(rf"{prefix}bn1", "backbone/stem")
    for layer in (1, 2, 3, 4):
        block = rf"{prefix}layer{layer}\.(\d+)\."
        target = rf"backbone/stage{layer + 1}_block\1_"
        rows.append((rf"{block}conv(\d)\.weight", rf"{target}conv\2/kernel", "conv"))
        rows.append((rf"{block}downsample\.0\.weight", rf"{target}shortcut/kernel", "conv"))
        rows += norm_rows(rf"{block}bn(\d)", rf"{target}conv\2")
        rows += norm_rows(rf"{block}downsample\.1", f"{target}shortcut")
    return rows


def _fpn_rows() -> list[Row]:
    rows: list[Row] = []
    for index in range(4):
        for blocks, layer in (("inner_blocks", "lateral"), ("layer_blocks", "output")):
            name, target = rf"backbone\.fpn\.{blocks}\.{index}", f"fpn/{layer}{index + 2}"
            rows += affine_rows(rf"{name}(?:\.0)?", target, "conv")  # without ".0" before torchvision 0.13
            rows += norm_rows(rf"{name}\.1", target)
    return rows


RPN_ROWS = [
    *affine_rows(r"rpn\.head\.conv", "rpn_head/conv0", "conv"),  # before torchvision 0.13
    *affine_rows(r"rpn\.head\.conv\.(\d)\.0", r"rpn_head/conv\1", "conv"),
    *affine_rows(r"rpn\.head\.cls_logits", "rpn_head/objectness", "conv"),
    *affine_rows(r"rpn\.head\.bbox_pred", "rpn_head/deltas", "deltas_conv", bias="deltas"),
]


def _box_head_rows() -> list[Row]:
    head, predictor = r"roi_heads\.box_head", r"roi_heads\.box_predictor"
    rows: list[Row] = [
        *affine_rows(rf"{head}\.fc6", "box_head/fc1", flattened_dense(7)),
        *affine_rows(rf"{head}\.fc7", "box_head/fc2", "dense"),
        *affine_rows(rf"{head}\.5", "box_head/fc1", flattened_dense(7)),  # v2: 0 to 3 are convolutions
        *affine_rows(rf"{predictor}\.cls_score", "box_head/class_logits", "dense"),
        *affine_rows(rf"{predictor}\.bbox_pred", "box_head/deltas", "deltas_dense", bias="deltas"),
    ]
    for index in range(4):
        rows.append((rf"{head}\.{index}\.0\.weight", f"box_head/conv{index + 1}/kernel", "conv"))
        rows += norm_rows(rf"{head}\.{index}\.1", f"box_head/conv{index + 1}")
    return rows


def _mask_head_rows() -> list[Row]:
    rows: list[Row] = []
    for index in range(4):
        target = f"mask_head/conv{index + 1}"
        rows += affine_rows(rf"roi_heads\.mask_head\.(?:{index}\.0|mask_fcn{index + 1})", target, "conv")
        rows += norm_rows(rf"roi_heads\.mask_head\.{index}\.1", target)
    predictor = r"roi_heads\.mask_predictor"
    rows += affine_rows(rf"{predictor}\.conv5_mask", "mask_head/deconv", "transposed_conv")
    return rows + affine_rows(rf"{predictor}\.mask_fcn_logits", "mask_head/predictor", "pointwise")


def _keypoint_head_rows() -> list[Row]:
    rows: list[Row] = []
    for index in range(8):  # every second module is a ReLU
        name = rf"roi_heads\.keypoint_head\.{2 * index}"
        rows += affine_rows(name, f"keypoint_head/conv{index + 1}", "conv")
    name = r"roi_heads\.keypoint_predictor\.kps_score_lowres"
    return rows + affine_rows(name, "keypoint_head/deconv", "transposed_conv")


TABLE = (
    *resnet_table(r"backbone\.body\."),
    *_fpn_rows(),
    *RPN_ROWS,
    *_box_head_rows(),
    *_mask_head_rows(),
    *_keypoint_head_rows(),
)
IGNORED = (r".*\.num_batches_tracked",)


def _preset(
    config: Callable[[], Config], categories: tuple[Category, ...] = COCO_CATEGORIES_WITH_GAPS
) -> Preset:
    return Preset(config=config, table=TABLE, ignored=IGNORED, categories=categories)


PRESETS = {
    "maskrcnn_resnet50_fpn": _preset(maskrcnn_resnet50_fpn),
    "maskrcnn_resnet50_fpn_v2": _preset(maskrcnn_resnet50_fpn_v2),
    "fasterrcnn_resnet50_fpn": _preset(fasterrcnn_resnet50_fpn),
    "fasterrcnn_resnet50_fpn_v2": _preset(fasterrcnn_resnet50_fpn_v2),
    "keypointrcnn_resnet50_fpn": _preset(keypointrcnn_resnet50_fpn, COCO_PERSON),
}
