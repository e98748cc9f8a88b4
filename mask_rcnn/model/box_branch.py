"""The box branch: one box head, applied to sampled RoIs in training and to all proposals in inference.

`cascade` has the box branch of a cascade, with several box heads.
"""

import keras

from mask_rcnn.config import BoxHeadConfig, Config
from mask_rcnn.layers.batch_norm import ValidRois
from mask_rcnn.layers.roi import BoxHeadLosses, DetectionLayer, RoiTargets
from mask_rcnn.model.parts import Parts
from mask_rcnn.model.stages import Features, Tensors, pool


def box_losses(
    parts: Parts, config: Config, *, features: Features, proposals: Tensors, batch: Tensors
) -> tuple[Tensors, Tensors]:
    """Samples RoIs, applies the box head and returns its losses (Fast R-CNN, section 2.3).

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        features: `Features` of `extract_features`.
        proposals: Dict of `propose`.
        batch: Input dict of `training_model`.

    Returns:
        Tuple of
        sampled: Dict of `RoiTargets`.
        losses: Dict of `class_loss` and `box_loss`, `[B, 2]` each.
    """
    head = config.box_head
    sampled = RoiTargets(
        samples=head.samples,
        positive_fraction=head.positive_fraction,
        positive_iou=head.positive_iou,
        delta_weights=head.delta_weights,
        name="roi_targets",
    )(proposals, batch)
    _, pooled = pool(
        parts,
        config,
        maps=features.maps,
        boxes=sampled["rois"],
        name="box_pool",
        pool_size=head.pool_size,
        counted=sampled["valid"],
    )
    class_logits, deltas = ValidRois(parts.box_head)(pooled, sampled["valid"])
    layer = BoxHeadLosses(
        head.box_loss_beta, head.box_loss, delta_weights=head.delta_weights, name="box_head_losses"
    )
    return sampled, layer(class_logits, deltas, sampled)


def detect(
    parts: Parts, config: Config, *, features: Features, proposals: Tensors, windows: keras.KerasTensor
) -> tuple[Tensors, Tensors]:
    """Applies the box head to the proposals and selects the detections (Faster R-CNN, section 3.2).

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        features: `Features` of `extract_features`.
        proposals: Dict of `propose`.
        windows: `[B, 4]`, yxyx: the region that detections are clipped to.

    Returns:
        Tuple of the dict of `DetectionLayer`, and a dict of intermediate tensors, named as in
        `inference_model`.
    """
    head = config.box_head
    pooled, head_features = pool(
        parts, config, maps=features.maps, boxes=proposals["boxes"], name="box_pool", pool_size=head.pool_size
    )
    class_logits, deltas = parts.box_head(head_features)
    layer = detection_layer(head, head.delta_weights)
    detections = layer(class_logits, deltas, proposals, windows)
    return detections, {"box_pooled": pooled, "class_logits": class_logits, "box_deltas": deltas}


def detection_layer(config: BoxHeadConfig, delta_weights: tuple[float, ...]) -> DetectionLayer:
    """Returns the `DetectionLayer` of a model.

    Args:
        config: The section `config.box_head`.
        delta_weights: Four factors of the deltas (dy, dx, dh, dw) that the layer decodes.
    """
    return DetectionLayer(
        delta_weights,
        score_threshold=config.score_threshold,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        min_size=config.min_size,
        clamp_deltas=config.clamp_deltas,
        best_class_only=config.best_class_only,
        name="detections",
    )
