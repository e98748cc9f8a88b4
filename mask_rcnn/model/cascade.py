"""The box branch of a cascade: several box heads, each on the boxes of the one before (Cascade R-CNN).

Cai and Vasconcelos 2018, section 4. `box_branch` has the box branch without a cascade.
"""

from dataclasses import dataclass

import keras

from mask_rcnn.config import Config
from mask_rcnn.layers.batch_norm import ValidRois
from mask_rcnn.layers.cascade import CascadeTargets, MeanScores, RefineBoxes, ScaleGradient
from mask_rcnn.layers.roi import BoxHeadLosses, RoiTargets
from mask_rcnn.model.box_branch import detection_layer
from mask_rcnn.model.parts import Parts
from mask_rcnn.model.stages import Features, RpnOutputs, Tensors, pool


@dataclass(frozen=True, kw_only=True)
class CascadeHead:
    """One box head of a cascade.

    Attributes:
        suffix: Suffix of the names of its layers and losses: "" for the first head, then "2", "3", ...
        network: RoI features to class logits and deltas.
        positive_iou: A RoI is positive from this IoU on, and negative below.
        delta_weights: Four factors for the target deltas (dy, dx, dh, dw).
    """

    suffix: str
    network: keras.Model
    positive_iou: float
    delta_weights: tuple[float, ...]


def cascade_heads(parts: Parts, config: Config) -> list[CascadeHead]:
    """Returns the box heads in their order.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts, with a cascade.
    """
    if config.cascade is None:
        raise ValueError("`cascade_heads` needs a config with a cascade. Received: config.cascade=None.")
    networks = (parts.box_head, *parts.cascade)
    settings = zip(networks, config.cascade.positive_ious, config.cascade.delta_scales, strict=True)
    return [
        CascadeHead(
            suffix=str(number) if number > 1 else "",
            network=network,
            positive_iou=positive_iou,
            delta_weights=tuple(scale * weight for weight in config.box_head.delta_weights),
        )
        for number, (network, positive_iou, scale) in enumerate(settings, start=1)
    ]


def cascade_box_losses(
    parts: Parts, config: Config, *, features: Features, rpn: RpnOutputs, proposals: Tensors, batch: Tensors
) -> tuple[Tensors, Tensors]:
    """Samples RoIs, applies all box heads and returns their losses.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts, with a cascade.
        features: `Features` of `extract_features`.
        rpn: `RpnOutputs` of `run_rpn`, with the regions that boxes are clipped to.
        proposals: Dict of `propose`.
        batch: Input dict of `training_model`.

    Returns:
        Tuple of
        sampled: Dict of `RoiTargets` of the first head.
        losses: Dict of `class_loss` and `box_loss`, then `class2_loss`, `box2_loss`, ..., `[B, 2]` each.
    """
    heads = cascade_heads(parts, config)
    sampled = RoiTargets(
        samples=config.box_head.samples,
        positive_fraction=config.box_head.positive_fraction,
        positive_iou=heads[0].positive_iou,
        delta_weights=heads[0].delta_weights,
        name="roi_targets",
    )(proposals, batch)
    targets, losses, deltas = sampled, {}, None
    for index, head in enumerate(heads):
        if index > 0:
            rois = {"boxes": targets["rois"], "valid": targets["valid"]}
            rois = _refine(config, heads[index - 1], deltas, rois, rpn)
            layer = CascadeTargets(head.positive_iou, head.delta_weights, name=f"roi_targets{head.suffix}")
            targets = layer(rois, batch)
        _, pooled = _pool(parts, config, features, head, targets["rois"], counted=targets["valid"])
        pooled = ScaleGradient(1 / len(heads), name=f"share{head.suffix}")(pooled)
        class_logits, deltas = ValidRois(head.network)(pooled, targets["valid"])
        layer = BoxHeadLosses(
            config.box_head.box_loss_beta,
            config.box_head.box_loss,
            delta_weights=head.delta_weights,
            name=f"box_head_losses{head.suffix}",
        )
        head_losses = layer(class_logits, deltas, targets)
        losses[f"class{head.suffix}_loss"] = head_losses["class_loss"]
        losses[f"box{head.suffix}_loss"] = head_losses["box_loss"]
    return sampled, losses


def detect_with_cascade(
    parts: Parts, config: Config, *, features: Features, rpn: RpnOutputs, proposals: Tensors
) -> tuple[Tensors, Tensors]:
    """Selects detections with the mean scores of all box heads and the boxes of the last one.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts, with a cascade.
        features: `Features` of `extract_features`.
        rpn: `RpnOutputs` of `run_rpn`, with the regions that boxes are clipped to.
        proposals: Dict of `propose`.

    Returns:
        Tuple of the dict of `DetectionLayer`, and a dict of intermediate tensors, named as in
        `inference_model`.
    """
    heads = cascade_heads(parts, config)
    rois, scores, tensors, deltas = proposals, [], {}, None
    for index, head in enumerate(heads):
        if index > 0:
            rois = _refine(config, heads[index - 1], deltas, rois, rpn)
            tensors[f"proposals{head.suffix}"] = rois["boxes"]
        pooled, head_features = _pool(parts, config, features, head, rois["boxes"])
        class_logits, deltas = head.network(head_features)
        scores.append(class_logits)
        tensors |= {
            f"box_pooled{head.suffix}": pooled,
            f"class_logits{head.suffix}": class_logits,
            f"box_deltas{head.suffix}": deltas,
        }
    mean_logits = tensors["mean_logits"] = MeanScores(name="mean_logits")(scores)
    layer = detection_layer(config.box_head, heads[-1].delta_weights)
    return layer(mean_logits, deltas, rois, rpn.windows["detections"]), tensors


def _pool(parts, config, features, head, boxes, counted=None):
    return pool(
        parts,
        config,
        maps=features.maps,
        boxes=boxes,
        name=f"box_pool{head.suffix}",
        pool_size=config.box_head.pool_size,
        counted=counted,
    )


def _refine(config, head, deltas, rois, rpn):
    """Returns `rois` moved by the predicted `deltas` of `head`, a dict of `RefineBoxes`."""
    layer = RefineBoxes(head.delta_weights, config.box_head.clamp_deltas, name=f"refine{head.suffix}")
    return layer(deltas, rois, rpn.windows["proposals"])
