"""detectron2's detectors: their conventions as configs, and the table of their weight names."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mask_rcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    CascadeConfig,
    Config,
    FpnConfig,
    InputConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    RoiAlignConfig,
    TrainConfig,
)
from mask_rcnn.model_zoo.coco import COCO_CATEGORIES, COCO_PERSON
from mask_rcnn.model_zoo.convert import Row, Transposition, affine_rows, flattened_dense, norm_rows, swap_xy
from mask_rcnn.model_zoo.preset import Preset
from mask_rcnn.structures import Category

# float32 values as in detectron2; the difference is visible in float64 computations. RGB, as everywhere here.
MEAN = tuple(np.array([123.675, 116.28, 103.53], "float32").tolist())
STD = tuple(np.array([58.395, 57.12, 57.375], "float32").tolist())
TRAIN_SIDES = (640, 672, 704, 736, 768, 800)
BACKBONES = {  # in MSRA's ResNets the division by std is part of the first kernel
    "R_50": BackboneConfig(name="resnet50", weights="detectron2/MSRA/R-50", stride_in_1x1=True),
    "R_101": BackboneConfig(name="resnet101", weights="detectron2/MSRA/R-101", stride_in_1x1=True),
    "X_101_32x8d": BackboneConfig(name="resnext101_32x8d"),
}
SCHEDULES = {
    "1x": TrainConfig(steps=90_000, milestones=(60_000, 80_000), warmup_steps=1000),
    "3x": TrainConfig(steps=270_000, milestones=(210_000, 250_000), warmup_steps=1000),
}


def mask_rcnn_fpn(backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `mask_rcnn_{backbone}_FPN_{schedule}`.

    Args:
        backbone: A key of BACKBONES.
        schedule: A key of SCHEDULES.
    """
    return Config(
        input=InputConfig(
            resize="antialiased_uint8",
            train_short_sides=TRAIN_SIDES,
            mean=MEAN,
            std=STD if backbone.startswith("X") else (1.0, 1.0, 1.0),
        ),
        backbone=BACKBONES[backbone],
        roi_align=RoiAlignConfig(sampling_ratio=0),
        train=SCHEDULES[schedule],
    )


def mask_rcnn_c4(backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `mask_rcnn_{backbone}_C4_{schedule}`: the fifth stage is applied to RoIs."""
    config = _single_map(mask_rcnn_fpn(backbone, schedule), channels=1024)
    return replace(
        config,
        backbone=replace(config.backbone, last_stage=4),
        box_head=BoxHeadConfig(pool_size=14, average_pool=True, dense_units=()),
        mask_head=MaskHeadConfig(convs=0),
    )


def mask_rcnn_dc5(backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `mask_rcnn_{backbone}_DC5_{schedule}`: the fifth stage is dilated."""
    config = _single_map(mask_rcnn_fpn(backbone, schedule), channels=2048)
    return replace(config, backbone=replace(config.backbone, dilated_c5=True))


def _single_map(config: Config, channels: int) -> Config:
    """Returns the `Config` of an FPN model changed to an RPN on a single map of stride 16."""
    return replace(
        config,
        input=replace(config.input, pad_multiple=1),
        fpn=None,
        anchors=AnchorConfig(strides=(16,)),
        rpn=replace(config.rpn, channels=channels, pre_nms=6000, train_pre_nms=12000, train_post_nms=2000),
    )


def faster_rcnn(build: Callable[[str, str], Config], backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `build(backbone, schedule)`, such as `mask_rcnn_fpn`, without the mask head."""
    return replace(build(backbone, schedule), mask_head=None)


def keypoint_rcnn_fpn(backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `keypoint_rcnn_{backbone}_FPN_{schedule}`."""
    config = faster_rcnn(mask_rcnn_fpn, backbone, schedule)
    return replace(
        config,
        num_classes=1,
        rpn=replace(config.rpn, train_post_nms=1500),
        box_head=replace(config.box_head, box_loss_beta=0.5),
        keypoint_head=KeypointHeadConfig(),
    )


def cascade_mask_rcnn_fpn(backbone: str, schedule: str) -> Config:
    """Returns the `Config` of `cascade_mask_rcnn_{backbone}_FPN_{schedule}`."""
    config = mask_rcnn_fpn(backbone, schedule)
    return replace(
        config,
        rpn=replace(config.rpn, train_post_nms=2000),
        box_head=replace(config.box_head, class_agnostic=True),
        cascade=CascadeConfig(),
    )


def mask_rcnn_normalized(norm: str, **backbone: Any) -> Config:
    """Returns the `Config` of a Mask R-CNN with the normalization `norm` everywhere and a 4conv1fc box head.

    Args:
        norm: Normalization, see `NORMS`.
        backbone: Fields of its `BackboneConfig`.
    """
    config = mask_rcnn_fpn("R_50", "3x")
    return replace(
        config,
        backbone=BackboneConfig(norm=norm, weights=None, **backbone),
        fpn=FpnConfig(norm=norm),
        box_head=BoxHeadConfig(convs=4, norm=norm, dense_units=(1024,)),
        mask_head=MaskHeadConfig(norm=norm),
    )


def mask_rcnn_lsj(name: str, epochs: int) -> Config:
    """Returns the `Config` of the new baselines `mask_rcnn_..._FPN_{epochs}ep_LSJ`, trained from scratch.

    Large-scale jitter resizes images to fit into 1024 x 1024, scales them by 0.1 to 2.0, and crops or pads
    them.

    Args:
        name: Name of the backbone.
        epochs: Number of epochs, such as 100.
    """
    config = mask_rcnn_normalized("sync_batch_norm", name=name, frozen_stages=0, stride_in_1x1=True)
    length = epochs / 100
    train = TrainConfig(
        batch_size=64,
        reference_batch_size=64,
        steps=round(184_375 * length),
        milestones=(round(163_889 * length), round(177_546 * length)),
        learning_rate=0.1,
        weight_decay=4e-5,
        warmup_factor=0.067,
    )
    jitter = replace(config.input, transforms=("scale_jitter low=0.1 high=2.0 side=1024",))
    return replace(config, input=jitter, rpn=replace(config.rpn, convs=2), train=train)


# In detectron2, background is the last class, and it has neither a box nor a mask.


def _rgb_conv(x: np.ndarray) -> np.ndarray:
    return x[:, ::-1].transpose(2, 3, 1, 0)  # from BGR


def _background_first(x: np.ndarray) -> np.ndarray:
    return np.roll(x, 1, axis=0)


def _background_first_dense(x: np.ndarray) -> np.ndarray:
    return _background_first(x).transpose()


def _with_background(x: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([np.zeros_like(x[:rows]), x])


def _deltas(x: np.ndarray) -> np.ndarray:
    return _with_background(swap_xy(x), 4)


def _deltas_dense(x: np.ndarray) -> np.ndarray:
    return _deltas(x).transpose()


def _masks(x: np.ndarray) -> np.ndarray:
    return _with_background(x, 1)


def _masks_pointwise(x: np.ndarray) -> np.ndarray:
    return _masks(x[:, :, 0, 0]).transpose()


def resnet_rows(prefix: str) -> list[Row]:
    """Returns the table rows of a ResNet whose names begin with the pattern `prefix`."""
    rows: list[Row] = [(rf"{prefix}stem\.conv1\.weight", "backbone/stem/kernel", _rgb_conv)]
    rows += norm_rows(rf"{prefix}stem\.conv1\.norm", "backbone/stem")
    for module, part in ((prefix, "backbone"), (r"roi_heads\.", "roi_stage")):
        block = rf"{module}res(\d)\.(\d+)\.(conv\d|shortcut)"
        target = rf"{part}/stage\1_block\2_\3"
        rows.append((rf"{block}\.weight", f"{target}/kernel", "conv"))
        rows += norm_rows(rf"{block}\.norm", target)
    return rows


def _backbone_rows() -> list[Row]:
    rows = resnet_rows(r"backbone\.(?:bottom_up\.)?")
    name, target = r"backbone\.fpn_(lateral|output)(\d)", r"fpn/\1\2"
    return [*rows, *affine_rows(name, target, "conv"), *norm_rows(rf"{name}\.norm", target)]


def _rpn_rows() -> list[Row]:
    head = r"proposal_generator\.rpn_head"
    return [
        *affine_rows(rf"{head}\.conv", "rpn_head/conv0", "conv"),
        *affine_rows(rf"{head}\.conv\.conv(\d)", r"rpn_head/conv\1", "conv"),  # if there are several
        *affine_rows(rf"{head}\.objectness_logits", "rpn_head/objectness", "conv"),
        *affine_rows(rf"{head}\.anchor_deltas", "rpn_head/deltas", "deltas_conv", bias="deltas"),
    ]


def _box_head_rows(index: str, part: str, deltas_dense: Transposition, deltas: Transposition) -> list[Row]:
    """Returns the table rows of the box head `part`. detectron2's module names end in `index`."""
    head, predictor = rf"roi_heads\.box_head{index}", rf"roi_heads\.box_predictor{index}"
    return [
        (rf"{head}\.conv(\d)\.weight", rf"{part}/conv\1/kernel", "conv"),
        *norm_rows(rf"{head}\.conv(\d)\.norm", rf"{part}/conv\1"),
        *affine_rows(rf"{head}\.fc1", f"{part}/fc1", flattened_dense(7)),
        *affine_rows(rf"{head}\.fc2", f"{part}/fc2", "dense"),
        *affine_rows(
            rf"{predictor}\.cls_score",
            f"{part}/class_logits",
            _background_first_dense,
            bias=_background_first,
        ),
        *affine_rows(rf"{predictor}\.bbox_pred", f"{part}/deltas", deltas_dense, bias=deltas),
    ]


def _mask_and_keypoint_rows() -> list[Row]:
    mask, keypoint = r"roi_heads\.mask_head", r"roi_heads\.keypoint_head"
    return [
        *affine_rows(rf"{mask}\.mask_fcn(\d)", r"mask_head/conv\1", "conv"),
        *norm_rows(rf"{mask}\.mask_fcn(\d)\.norm", r"mask_head/conv\1"),
        *affine_rows(rf"{mask}\.deconv", "mask_head/deconv", "transposed_conv"),
        *affine_rows(rf"{mask}\.predictor", "mask_head/predictor", _masks_pointwise, bias=_masks),
        *affine_rows(rf"{keypoint}\.conv_fcn(\d)", r"keypoint_head/conv\1", "conv"),
        *affine_rows(rf"{keypoint}\.score_lowres", "keypoint_head/deconv", "transposed_conv"),
    ]


TABLE = (
    *_backbone_rows(),
    *_rpn_rows(),
    *_box_head_rows("", "box_head", _deltas_dense, _deltas),
    *_box_head_rows(r"\.0", "box_head", "deltas_dense", "deltas"),  # boxes of a cascade are class-agnostic
    *_box_head_rows(r"\.1", "box_head2", "deltas_dense", "deltas"),
    *_box_head_rows(r"\.2", "box_head3", "deltas_dense", "deltas"),
    *_mask_and_keypoint_rows(),
)
IGNORED = (r".*\.num_batches_tracked", r".*anchor_generator\.cell_anchors.*", r"pixel_(mean|std)")

VARIANTS = (("R_50", "1x"), ("R_50", "3x"), ("R_101", "3x"))


def _presets() -> dict[str, Preset]:
    configs: dict[str, Callable[[], Config]] = {}
    for name, base in (("C4", mask_rcnn_c4), ("DC5", mask_rcnn_dc5), ("FPN", mask_rcnn_fpn)):
        for variant in VARIANTS + ((("X_101_32x8d", "3x"),) if name == "FPN" else ()):
            suffix = f"{variant[0]}_{name}_{variant[1]}"
            configs[f"mask_rcnn_{suffix}"] = functools.partial(base, *variant)
            configs[f"faster_rcnn_{suffix}"] = functools.partial(faster_rcnn, base, *variant)
    for name in ("R_50", "R_101"):
        for epochs in (100, 200, 400):
            build = functools.partial(mask_rcnn_lsj, BACKBONES[name].name, epochs)
            configs[f"mask_rcnn_{name}_FPN_{epochs}ep_LSJ"] = build
    configs["mask_rcnn_R_50_FPN_3x_gn"] = functools.partial(mask_rcnn_normalized, "group_norm")
    scratch = functools.partial(mask_rcnn_normalized, "group_norm", frozen_stages=0)
    configs["scratch_mask_rcnn_R_50_FPN_3x_gn"] = scratch
    configs["mask_rcnn_R_50_FPN_3x_syncbn"] = functools.partial(mask_rcnn_normalized, "sync_batch_norm")
    for schedule in SCHEDULES:
        build = functools.partial(cascade_mask_rcnn_fpn, "R_50", schedule)
        configs[f"cascade_mask_rcnn_R_50_FPN_{schedule}"] = build
    keypoints = {
        f"keypoint_rcnn_{backbone}_FPN_{schedule}": functools.partial(keypoint_rcnn_fpn, backbone, schedule)
        for backbone, schedule in (*VARIANTS, ("X_101_32x8d", "3x"))
    }
    return {name: _preset(config, COCO_CATEGORIES) for name, config in configs.items()} | {
        name: _preset(config, COCO_PERSON) for name, config in keypoints.items()
    }


def _preset(config: Callable[[], Config], categories: tuple[Category, ...]) -> Preset:
    return Preset(config=config, table=TABLE, ignored=IGNORED, categories=categories)


PRESETS = _presets()
