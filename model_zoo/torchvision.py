"""torchvision's detectors: their conventions and the names of their weights (references.md, section 5)."""

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    InputConfig,
    MaskHeadConfig,
    RoiAlignConfig,
    RpnConfig,
)
from mask_rcnn.model_zoo.coco import COCO_CATEGORIES_WITH_GAPS
from mask_rcnn.model_zoo.convert import flattened_dense
from mask_rcnn.model_zoo.preset import Preset

NUM_CLASSES = 90  # torchvision keeps the gaps in COCO's category ids

BATCH_NORM = (
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)


def maskrcnn_resnet50_fpn(num_classes=NUM_CLASSES):
    """Returns the `Config` of `maskrcnn_resnet50_fpn` as it is with its COCO_V1 weights."""
    return Config(
        num_classes=num_classes,
        input=InputConfig(size_rounding="floor"),
        backbone=BackboneConfig(norm_epsilon=0.0),
        anchors=AnchorConfig(rounded=True, stride_from_padded_size=True),
        rpn=RpnConfig(min_size=1e-3, train_post_nms=2000, box_loss_beta=1 / 9),
        roi_align=RoiAlignConfig(aligned=False, level_epsilon=0.0, level_offset=1e-6),
        box_head=BoxHeadConfig(min_size=1e-2, box_loss_beta=1 / 9),
        mask_head=MaskHeadConfig(paste="padded_resize"),
    )


def resnet_table(prefix):
    """Returns the rows of a ResNet backbone whose names begin with `prefix`, a pattern."""
    rows = [(f"{prefix}conv1.weight", "backbone/stem/kernel", "conv")]
    for theirs, ours in BATCH_NORM:
        rows.append((rf"{prefix}bn1\.{theirs}", f"backbone/stem/norm/{ours}", "same"))
    for layer in (1, 2, 3, 4):
        block = rf"{prefix}layer{layer}\.(\d+)\."
        target = rf"backbone/stage{layer + 1}_block\1_"
        rows.append((rf"{block}conv(\d)\.weight", rf"{target}conv\2/kernel", "conv"))
        rows.append((rf"{block}downsample\.0\.weight", rf"{target}shortcut/kernel", "conv"))
        for theirs, ours in BATCH_NORM:
            rows.append((rf"{block}bn(\d)\.{theirs}", rf"{target}conv\2/norm/{ours}", "same"))
            rows.append((rf"{block}downsample\.1\.{theirs}", rf"{target}shortcut/norm/{ours}", "same"))
    return rows


def _fpn_rows():
    rows = []
    for index in range(4):
        # Files older than torchvision 0.13 lack the second ".0".
        for theirs, ours in (("inner_blocks", "lateral"), ("layer_blocks", "output")):
            name = rf"backbone\.fpn\.{theirs}\.{index}\.(?:0\.)?"
            rows.append((f"{name}weight", f"fpn/{ours}{index + 2}/kernel", "conv"))
            rows.append((f"{name}bias", f"fpn/{ours}{index + 2}/bias", "same"))
    return rows


RPN_ROWS = [
    (r"rpn\.head\.conv\.(?:0\.0\.)?weight", "rpn_head/conv0/kernel", "conv"),
    (r"rpn\.head\.conv\.(?:0\.0\.)?bias", "rpn_head/conv0/bias", "same"),
    (r"rpn\.head\.cls_logits\.weight", "rpn_head/objectness/kernel", "conv"),
    (r"rpn\.head\.cls_logits\.bias", "rpn_head/objectness/bias", "same"),
    (r"rpn\.head\.bbox_pred\.weight", "rpn_head/deltas/kernel", "deltas_conv"),
    (r"rpn\.head\.bbox_pred\.bias", "rpn_head/deltas/bias", "deltas"),
]

BOX_HEAD_ROWS = [
    (r"roi_heads\.box_head\.fc6\.weight", "box_head/fc1/kernel", flattened_dense(7)),
    (r"roi_heads\.box_head\.fc7\.weight", "box_head/fc2/kernel", "dense"),
    (r"roi_heads\.box_head\.fc6\.bias", "box_head/fc1/bias", "same"),
    (r"roi_heads\.box_head\.fc7\.bias", "box_head/fc2/bias", "same"),
    (r"roi_heads\.box_predictor\.cls_score\.weight", "box_head/class_logits/kernel", "dense"),
    (r"roi_heads\.box_predictor\.cls_score\.bias", "box_head/class_logits/bias", "same"),
    (r"roi_heads\.box_predictor\.bbox_pred\.weight", "box_head/deltas/kernel", "deltas_dense"),
    (r"roi_heads\.box_predictor\.bbox_pred\.bias", "box_head/deltas/bias", "deltas"),
]


def _mask_head_rows():
    rows = []
    for index in range(4):
        name = rf"roi_heads\.mask_head\.(?:{index}\.0|mask_fcn{index + 1})\."
        rows.append((f"{name}weight", f"mask_head/conv{index + 1}/kernel", "conv"))
        rows.append((f"{name}bias", f"mask_head/conv{index + 1}/bias", "same"))
    predictor = r"roi_heads\.mask_predictor\."
    return [
        *rows,
        (rf"{predictor}conv5_mask\.weight", "mask_head/deconv/kernel", "transposed_conv"),
        (rf"{predictor}conv5_mask\.bias", "mask_head/deconv/bias", "same"),
        (rf"{predictor}mask_fcn_logits\.weight", "mask_head/predictor/kernel", "pointwise"),
        (rf"{predictor}mask_fcn_logits\.bias", "mask_head/predictor/bias", "same"),
    ]


TABLE = [*resnet_table(r"backbone\.body\."), *_fpn_rows(), *RPN_ROWS, *BOX_HEAD_ROWS, *_mask_head_rows()]
IGNORED = (r".*\.num_batches_tracked",)

PRESETS = {
    "maskrcnn_resnet50_fpn": Preset(
        config=maskrcnn_resnet50_fpn, table=TABLE, ignored=IGNORED, categories=COCO_CATEGORIES_WITH_GAPS
    ),
}
