"""The steps of the architecture. Each connects parts and layers as the config says.

Symbolic tensors are Keras tensors. Letters: B images, N RoIs per image, P bins per side, S sampled RoIs.
"""

from dataclasses import dataclass
from typing import Any

import keras

from mask_rcnn.config import BoxHeadConfig, Config, RpnConfig
from mask_rcnn.heads import Head
from mask_rcnn.layers.batch_norm import ValidRois
from mask_rcnn.layers.images import ImageWindows, NormalizeImages
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.masks import PositiveRois
from mask_rcnn.layers.rpn import Anchors, ProposalLayer, RpnLosses
from mask_rcnn.model.parts import Parts
from mask_rcnn.poolers import POOLERS

Tensors = dict[str, keras.KerasTensor]


@dataclass(frozen=True, kw_only=True)
class Features:
    """The maps that backbone and FPN compute from a batch of images. All maps are `[B, h, w, C]`.

    Attributes:
        maps: List of maps for RoI pooling: P2..P5, or the last map of the backbone without an FPN.
        rpn_maps: List of maps for the RPN. It includes the subsampled levels, such as P6.
        named: All intermediate tensors by name, as in `inference_model`: `normalized`, `C2`, ..., `P6`.
    """

    maps: list[keras.KerasTensor]
    rpn_maps: list[keras.KerasTensor]
    named: Tensors


@dataclass(frozen=True, kw_only=True)
class RpnOutputs:
    """The outputs of the region proposal network for a batch of images.

    Attributes:
        logits: List of `[B, h, w, A]`, one per map of the RPN.
        deltas: List of `[B, h, w, A * 4]`, (dy, dx, dh, dw).
        anchors: List of `[h * w * A, 4]`, yxyx.
        windows: Dict of `ImageWindows`: the regions that proposals and detections are clipped to.
    """

    logits: list[keras.KerasTensor]
    deltas: list[keras.KerasTensor]
    anchors: list[keras.KerasTensor]
    windows: Tensors


def extract_features(parts: Parts, config: Config, batch: Tensors) -> Features:
    """Normalizes the images and applies backbone and FPN.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        batch: Dict with `images` and `image_sizes`, the inputs of the model.

    Returns:
        `Features`.
    """
    settings, source = config.input, parts.source
    # mean and std are in gray levels 0..255. In 16-bit images a gray level is `counts_per_level` units.
    mean, std = (
        [settings.counts_per_level * number for number in numbers] for numbers in source.normalization
    )
    normalize = NormalizeImages(
        mean, std, padding=settings.padding, centered=settings.centered, name="normalize"
    )
    normalized = normalize(batch["images"], batch["image_sizes"])
    maps, named = _pyramid(parts.backbone, parts.fpn, normalized, source.first_level)
    rpn_maps = maps
    if parts.rpn_backbone:
        rpn_maps, separate = _pyramid(parts.rpn_backbone, parts.rpn_fpn, normalized, source.first_level)
        named |= {f"rpn_{name}": features for name, features in separate.items()}
    return Features(
        maps=maps[: len(source.strides)],  # only the RPN uses subsampled levels, such as P6
        rpn_maps=rpn_maps,
        named={"normalized": normalized, **named},
    )


def _pyramid(backbone, fpn, images, first_level):
    """Returns the maps of the FPN, or the last map of the backbone if there is no FPN; and all maps by name.

    Args:
        backbone, fpn: See `Parts`. `fpn` may be None.
        images: `[B, H, W, C]`, normalized.
        first_level: Level of the finest map.

    Returns:
        Tuple of a list of maps `[B, h, w, C]`, finest first, and a dict of all maps by name: "C2", ..., and
        "P2", ...
    """
    stages = backbone(images)
    named = {f"C{level}": features for level, features in enumerate(stages, first_level)}
    if fpn is None:
        return stages[-1:], named
    pyramid = fpn(stages)
    return pyramid, named | {f"P{level}": features for level, features in enumerate(pyramid, first_level)}


def run_rpn(parts: Parts, config: Config, *, features: Features, batch: Tensors) -> RpnOutputs:
    """Applies the RPN head to its maps and creates the anchors (Faster R-CNN, section 3.1).

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        features: `Features` of `extract_features`.
        batch: Dict with `images` and `image_sizes`, the inputs of the model.

    Returns:
        `RpnOutputs`.
    """
    anchors = Anchors(
        config.anchors.sizes,
        config.anchors.strides,
        config.anchors.ratios,
        rounded=config.anchors.rounded,
        stride_from_padded_size=config.anchors.stride_from_padded_size,
        name="anchors",
    )(features.rpn_maps, batch["images"])
    if config.inclusive_boxes:
        anchors = [MoveFarEdges(-1, name=f"anchors{i}_inclusive")(x) for i, x in enumerate(anchors)]
    logits, deltas = zip(*(parts.rpn_head(level) for level in features.rpn_maps), strict=True)
    centered = config.input.centered
    windows = ImageWindows(centered, config.inclusive_boxes, name="windows")(
        batch["image_sizes"], *([batch["images"]] if centered else [])
    )
    return RpnOutputs(logits=list(logits), deltas=list(deltas), anchors=anchors, windows=windows)


def propose(config: RpnConfig, rpn: RpnOutputs, *, pre_nms: int, post_nms: int) -> Tensors:
    """Selects the proposals: the best boxes of the RPN after NMS. Returns the dict of `ProposalLayer`.

    Args:
        config: The section `config.rpn`.
        rpn: `RpnOutputs` of `run_rpn`.
        pre_nms, post_nms: See `ProposalLayer`. They differ in training and inference.
    """
    layer = ProposalLayer(
        pre_nms,
        post_nms,
        nms_iou=config.nms_iou,
        min_size=config.min_size,
        joint_levels=config.joint_levels,
        clamp_deltas=config.clamp_deltas,
        name="proposals",
    )
    return layer(rpn.logits, rpn.deltas, rpn.anchors, rpn.windows["proposals"])


def rpn_losses(config: RpnConfig, rpn: RpnOutputs, batch: Tensors) -> Tensors:
    """Samples anchors and returns the losses of the RPN, the dict of `RpnLosses`.

    Args:
        config: The section `config.rpn`.
        rpn: `RpnOutputs` of `run_rpn`.
        batch: Input dict of `training_model`.
    """
    layer = RpnLosses(
        samples=config.samples,
        positive_fraction=config.positive_fraction,
        positive_iou=config.positive_iou,
        negative_iou=config.negative_iou,
        beta=config.box_loss_beta,
        box_loss=config.box_loss,
        name="rpn_losses",
    )
    return layer(rpn.logits, rpn.deltas, rpn.anchors, batch)


def pool(
    parts: Parts,
    config: Config,
    *,
    maps: list[keras.KerasTensor],
    boxes: keras.KerasTensor,
    name: str,
    pool_size: int,
    counted: keras.KerasTensor | None = None,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Pools the features of RoIs for one head.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        maps: `maps` of `Features`.
        boxes: `[B, N, 4]`, yxyx.
        name: Name of the pooling layer, such as "mask_pool".
        pool_size: Bins per side, P.
        counted: `[B, N]` bool: the RoIs that batch normalizations compute their training statistics from.
            Defaults to None, for inference.

    Returns:
        Tuple of the output of the RoI pooler, `[B * N, P, P, C]`, and the features for the head. These are
        the same tensor, or the output of the fifth stage in a ResNet-C4.
    """
    pooler = POOLERS.find(config.roi_align.method)(
        config.roi_align,
        strides=config.anchors.strides[: len(maps)],
        pool_size=pool_size,
        name=name,
    )
    pooled = pooler(maps, boxes)
    if parts.roi_stage is None:
        return pooled, pooled
    return pooled, parts.roi_stage(pooled) if counted is None else ValidRois(parts.roi_stage)(pooled, counted)


def positive_rois(config: BoxHeadConfig, sampled: Tensors) -> Tensors:
    """Returns the dict of `PositiveRois`: the RoIs that further heads are trained on (section 3.1).

    Args:
        config: The section `config.box_head`.
        sampled: Dict of `RoiTargets`.
    """
    return PositiveRois(int(config.samples * config.positive_fraction), name="positives")(sampled)


def head_losses(
    parts: Parts, config: Config, *, head: Head, features: Features, positives: Tensors, batch: Tensors
) -> Tensors:
    """Applies a further head, such as the mask head, to the positive RoIs and returns its losses.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        head: One of `heads_of(config)`.
        features: `Features` of `extract_features`.
        positives: Dict of `positive_rois`.
        batch: Input dict of `training_model`.
    """
    is_positive = positives["positive"]
    _, pooled = pool(
        parts, config, maps=features.maps, boxes=positives["rois"], counted=is_positive, **head.pooling
    )
    inputs = head.network_inputs(pooled, positives["class_ids"])
    outputs = ValidRois(parts.heads[head.part])(inputs, is_positive)
    return head.loss(outputs, positives, batch)


def predict_head(
    parts: Parts, config: Config, *, head: Head, features: Features, detections: Tensors
) -> tuple[dict[str, Any], Tensors]:
    """Applies a further head, such as the mask head, to the detections.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        head: One of `heads_of(config)`.
        features: `Features` of `extract_features`.
        detections: Dict of `DetectionLayer`.

    Returns:
        Tuple of the dict of `Head.predict`, and a dict of intermediate tensors, named as in
        `inference_model`.
    """
    boxes = detections["boxes"]
    pooled, head_features = pool(parts, config, maps=features.maps, boxes=boxes, **head.pooling)
    outputs = parts.heads[head.part](head.network_inputs(head_features, detections["class_ids"]))
    tensors = {f"{head.name}_pooled": pooled, f"{head.name}_logits": outputs}
    return head.predict(outputs, boxes), tensors
