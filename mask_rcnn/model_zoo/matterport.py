"""matterport/Mask_RCNN: its conventions as a config, and the table of the names in its Keras 2 files.

Operations of its networks that ours do not have are folded into the weights: two logits per anchor, the scale
of the deltas, and the batch normalization of the heads, which it never trains on COCO.
"""

import re
import string
from collections.abc import Mapping

import numpy as np

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
from mask_rcnn.model_zoo.coco import COCO_CATEGORIES
from mask_rcnn.model_zoo.convert import Row, Transposition
from mask_rcnn.model_zoo.preset import Preset

NORM_EPSILON = 1e-3  # the default of Keras
RPN_DELTA_STD = (0.1, 0.1, 0.2, 0.2)  # its RPN's (dy, dx, dh, dw) are multiplied by these factors
BLOCKS = string.ascii_lowercase[:23]  # one letter per block of a stage: res4a to res4w in ResNet-101

# Path of a variable in a file: group of its model, name of the layer (perhaps repeated), name of the
# variable.
LAYER = re.compile(r"(?:model_weights/)?(?:rpn_model/)*([^/]+)/(?:.*/)?(\w+)(?::0)?")


def mask_rcnn_coco(backbone: str = "resnet101") -> Config:
    """Returns the `Config` of `mask_rcnn_coco.h5` with matterport's default settings for inference.

    Args:
        backbone: Name of the backbone. Defaults to "resnet101".
    """
    return Config(
        inclusive_boxes=True,
        input=InputConfig(
            long_side=1024,
            upscale_only=True,
            size_rounding="half_even",
            resize="uint8",
            pad_multiple=64,
            padded_size=(1024, 1024),
            centered=True,
            padding="black",
            mean=(123.7, 116.8, 103.9),
            std=(1.0, 1.0, 1.0),
            mask_crop_size=56,
        ),
        backbone=BackboneConfig(
            name=backbone,
            norm_epsilon=NORM_EPSILON,
            stride_in_1x1=True,
            stem_pool_padding="same",
            weights=None,  # its ImageNet weights are not among ours
        ),
        anchors=AnchorConfig(ratios=(2.0, 1.0, 0.5)),
        rpn=RpnConfig(
            channels=512,
            train_pre_nms=6000,
            train_post_nms=2000,
            pre_nms=6000,
            joint_levels=True,
            min_size=-1.0,
            clamp_deltas=False,
            box_loss_beta=1.0,
        ),
        roi_align=RoiAlignConfig(method="crop_and_resize", level_epsilon=0.0, level_rounding="nearest"),
        box_head=BoxHeadConfig(
            samples=200,
            positive_fraction=0.33,
            box_loss_beta=1.0,
            clamp_deltas=False,
            best_class_only=True,
            score_threshold=0.7,
            nms_iou=0.3,
            min_size=-1.0,
        ),
        mask_head=MaskHeadConfig(paste="rounded_box"),
    )


def preprocess_state_dict(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of a file with uniform names, before the table is applied.

    The batch normalizations of the heads are folded into the layers before them.

    Args:
        state_dict: `{path: array}` with the nested groups of Keras 2: "conv1/conv1/kernel:0",
            "rpn_model/rpn_conv_shared/kernel:0".

    Returns:
        `{"layer/variable": array}`.
    """
    arrays: dict[str, np.ndarray] = {}
    for path, array in state_dict.items():
        match = LAYER.fullmatch(path)
        arrays["/".join(match.groups()) if match else path] = array
    for head in ("class", "mask"):
        for index in (1, 2, 3, 4):
            _fold_norm(arrays, f"mrcnn_{head}_conv{index}", f"mrcnn_{head}_bn{index}")
    return arrays


def _fold_norm(arrays: dict[str, np.ndarray], layer: str, norm: str) -> None:
    """Folds a frozen batch normalization into the layer before it, in place.

    If an array is missing or has a wrong shape, nothing is changed. The later check then reports it.
    """
    names = [f"{layer}/kernel", f"{layer}/bias"]
    names += [f"{norm}/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    shapes = [arrays[name].shape[-1:] if name in arrays else () for name in names]
    if any(shape != shapes[0] for shape in shapes) or shapes[0] == ():
        return
    kernel = arrays.pop(names[0])
    bias, gamma, beta, mean, variance = (np.float64(arrays.pop(name)) for name in names[1:])
    scale = gamma / np.sqrt(variance + NORM_EPSILON)
    arrays[f"{layer}/kernel"] = kernel * np.float32(scale)  # 50 MB; float64 would take 100 MB
    arrays[f"{layer}/bias"] = ((bias - mean) * scale + beta).astype("float32")


def _rows(
    pattern: str, target: str, kernel: Transposition = "same", bias: Transposition = "same"
) -> list[Row]:
    """Returns the table rows of the kernel and the bias of a layer, see `convert.affine_rows`."""
    return [(f"{pattern}/kernel", f"{target}/kernel", kernel), (f"{pattern}/bias", f"{target}/bias", bias)]


def _backbone_rows() -> list[Row]:
    rows: list[Row] = [
        *_rows("conv1", "backbone/stem"),
        (r"bn_conv1/(\w+)", r"backbone/stem/norm/\1", "same"),
    ]
    for index, letter in enumerate(BLOCKS):
        for branch, layer in (("1", "shortcut"), ("2a", "conv1"), ("2b", "conv2"), ("2c", "conv3")):
            target = rf"backbone/stage\1_block{index}_{layer}"
            rows += _rows(rf"res(\d){letter}_branch{branch}", target)
            rows.append((rf"bn(\d){letter}_branch{branch}/(\w+)", rf"{target}/norm/\2", "same"))
    return rows


def _foreground(x: np.ndarray) -> np.ndarray:
    """Returns one logit per anchor from (background, foreground): a softmax over two is a sigmoid."""
    return x[..., 1::2] - x[..., ::2]


def _scaled_deltas(x: np.ndarray) -> np.ndarray:
    return x * np.tile(np.array(RPN_DELTA_STD, "float32"), x.shape[-1] // 4)


def _as_matrix(x: np.ndarray) -> np.ndarray:
    """Returns the kernel `[P, P, C, C']` of a convolution that covers its whole input as a dense kernel."""
    return x.reshape(-1, x.shape[-1])


TABLE = (
    *_backbone_rows(),
    *_rows(r"fpn_c(\d)p\d", r"fpn/lateral\1"),
    *_rows(r"fpn_p(\d)", r"fpn/output\1"),
    *_rows("rpn_conv_shared", "rpn_head/conv0"),
    *_rows("rpn_class_raw", "rpn_head/objectness", _foreground, _foreground),
    *_rows("rpn_bbox_pred", "rpn_head/deltas", _scaled_deltas, _scaled_deltas),
    *_rows(r"mrcnn_class_conv(\d)", r"box_head/fc\1", _as_matrix),
    *_rows("mrcnn_class_logits", "box_head/class_logits"),
    *_rows("mrcnn_bbox_fc", "box_head/deltas"),
    *_rows(r"mrcnn_mask_conv(\d)", r"mask_head/conv\1"),
    *_rows("mrcnn_mask_deconv", "mask_head/deconv"),
    *_rows("mrcnn_mask", "mask_head/predictor", _as_matrix),
)

PRESETS = {
    "mask_rcnn_coco": Preset(
        config=mask_rcnn_coco,
        table=TABLE,
        preprocess_state_dict=preprocess_state_dict,
        categories=COCO_CATEGORIES,
    ),
}
