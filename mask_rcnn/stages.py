"""Stages of the network that training and inference share. Each connects parts and layers by the config."""

from mask_rcnn.layers.batch_norm import ValidRois
from mask_rcnn.layers.cascade import CascadeTargets, MeanScores, RefineBoxes, ScaleGradient
from mask_rcnn.layers.images import ImageWindows, NormalizeImages
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.roi import BoxHeadLosses, DetectionLayer, RoiTargets
from mask_rcnn.layers.rpn import Anchors, ProposalLayer
from mask_rcnn.poolers import POOLERS


def first_stage(parts, config, batch):
    """Applies backbone, FPN and RPN to a batch of images (Faster R-CNN, section 3.1).

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        batch: Dict with `images` and `image_sizes`, the inputs of the model.

    Returns:
        Tuple of
        maps: List of maps for RoI pooling: P2..P5, or the last map of the backbone without an FPN.
        rpn: Dict of
            `logits`, `deltas`, `anchors`: Lists with one tensor per map of the RPN, see `ProposalLayer`.
            `windows`: Dict of `ImageWindows`.
            `between`: Dict `{name: tensor}` of intermediate tensors, named as in `inference_model`.
    """
    settings = config.input
    source = parts.source
    # mean and std are in gray levels 0..255. In 16-bit images a gray level is `counts_per_level` units.
    mean, std = (
        [settings.counts_per_level * number for number in each] for each in (source.mean, source.std)
    )
    normalize = NormalizeImages(mean, std, settings.padding, settings.centered, name="normalize")
    normalized = normalize(batch["images"], batch["image_sizes"])
    maps, between = _features(parts.backbone, parts.fpn, normalized, source.first_level)
    rpn_maps = maps
    if parts.rpn_backbone:
        rpn_maps, own = _features(parts.rpn_backbone, parts.rpn_fpn, normalized, source.first_level)
        between |= {f"rpn_{name}": features for name, features in own.items()}
    anchors = Anchors(
        config.anchors.sizes,
        config.anchors.strides,
        config.anchors.ratios,
        config.anchors.rounded,
        config.anchors.stride_from_padded_size,
        name="anchors",
    )(rpn_maps, batch["images"])
    if config.inclusive_boxes:
        anchors = [MoveFarEdges(-1, name=f"anchors{i}_inclusive")(x) for i, x in enumerate(anchors)]
    logits, deltas = zip(*(parts.rpn_head(features) for features in rpn_maps), strict=True)
    windows = ImageWindows(settings.centered, config.inclusive_boxes, name="windows")(
        batch["image_sizes"], *([batch["images"]] if settings.centered else [])
    )
    rpn = {"logits": list(logits), "deltas": list(deltas), "anchors": anchors, "windows": windows}
    rpn["between"] = {
        "normalized": normalized,
        **between,
        "rpn_logits": rpn["logits"],
        "rpn_deltas": rpn["deltas"],
        "anchors": anchors,
    }
    return maps[: len(source.strides)], rpn  # subsampled levels, such as P6, are used by the RPN only


def _features(backbone, fpn, images, first_level):
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


def propose(config, rpn, pre_nms, post_nms):
    """Returns the dict of `ProposalLayer`.

    Args:
        config: The section `config.rpn`.
        rpn: Dict of `first_stage`.
        pre_nms, post_nms: See `ProposalLayer`. They differ in training and inference.
    """
    layer = ProposalLayer(
        pre_nms,
        post_nms,
        config.nms_iou,
        config.min_size,
        config.joint_levels,
        config.clamp_deltas,
        name="proposals",
    )
    return layer(rpn["logits"], rpn["deltas"], rpn["anchors"], rpn["windows"]["proposals"])


def pool(parts, config, maps, boxes, *, name, pool_size, counted=None):
    """Pools the features of RoIs for one head.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        maps: List of maps of `first_stage`.
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


def box_head_losses(parts, config, maps, rpn, proposals, batch):
    """Computes the losses of all box heads (Fast R-CNN, section 2.3; cascade: Cascade R-CNN, section 4).

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        maps, rpn: Results of `first_stage`.
        proposals: Dict of `propose`.
        batch: Input dict of `training_model`.

    Returns:
        Tuple of
        sampled: Dict of `RoiTargets` of the first head.
        losses: Dict of `class_loss` and `box_loss`, `[B, 2]` each. Further heads of a cascade add
            `class2_loss`, `box2_loss`, ...
    """
    head, heads = config.box_head, _box_heads(parts, config)
    rois, outputs = proposals, {}
    for number, (network, positive_iou, weights) in enumerate(heads, start=1):
        suffix = str(number) if number > 1 else ""
        if number == 1:
            shares = (head.samples, head.positive_fraction)
            first = sampled = RoiTargets(*shares, positive_iou, weights, name="roi_targets")(rois, batch)
        else:
            sampled = CascadeTargets(positive_iou, weights, name=f"roi_targets{suffix}")(rois, batch)
        pooling = {"name": f"box_pool{suffix}", "pool_size": head.pool_size, "counted": sampled["valid"]}
        _, features = pool(parts, config, maps, sampled["rois"], **pooling)
        if len(heads) > 1:
            features = ScaleGradient(1 / len(heads), name=f"share{suffix}")(features)
        class_logits, deltas = ValidRois(network)(features, sampled["valid"])
        compare = BoxHeadLosses(head.box_loss_beta, head.box_loss, weights, name=f"box_head_losses{suffix}")
        losses = compare(class_logits, deltas, sampled)
        outputs |= {f"class{suffix}_loss": losses["class_loss"], f"box{suffix}_loss": losses["box_loss"]}
        if number < len(heads):
            rois = {"boxes": sampled["rois"], "valid": sampled["valid"]}
            rois = _refine(config, weights, suffix)(deltas, rois, rpn["windows"]["proposals"])
    return first, outputs


def detect(parts, config, maps, rpn, proposals):
    """Computes detections from proposals.

    A cascade uses the mean scores of all box heads and the boxes of the last one.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        maps, rpn: Results of `first_stage`.
        proposals: Dict of `propose`.

    Returns:
        Tuple of the dict of `DetectionLayer`, and a dict of intermediate tensors, named as in
        `inference_model`.
    """
    head, heads = config.box_head, _box_heads(parts, config)
    rois, every, between = proposals, [], {}
    for number, (network, _, weights) in enumerate(heads, start=1):
        suffix = str(number) if number > 1 else ""
        pooling = {"name": f"box_pool{suffix}", "pool_size": head.pool_size}
        pooled, features = pool(parts, config, maps, rois["boxes"], **pooling)
        class_logits, deltas = network(features)
        every.append(class_logits)
        between |= {
            f"box_pooled{suffix}": pooled,
            f"class_logits{suffix}": class_logits,
            f"box_deltas{suffix}": deltas,
        }
        if number < len(heads):
            rois = _refine(config, weights, suffix)(deltas, rois, rpn["windows"]["proposals"])
            between[f"proposals{number + 1}"] = rois["boxes"]
    if len(heads) > 1:
        class_logits = between["mean_logits"] = MeanScores(name="mean_logits")(every)
    layer = DetectionLayer(
        heads[-1][-1],
        head.score_threshold,
        head.nms_iou,
        head.max_detections,
        head.min_size,
        head.clamp_deltas,
        head.best_class_only,
        name="detections",
    )
    return layer(class_logits, deltas, rois, rpn["windows"]["detections"]), between


def _box_heads(parts, config):
    """Returns a tuple (network, positive IoU, delta weights) for each box head, in order."""
    head, cascade = config.box_head, config.cascade
    if cascade is None:
        return [(parts.box_head, head.positive_iou, head.delta_weights)]
    weights = [tuple(scale * weight for weight in head.delta_weights) for scale in cascade.delta_scales]
    return list(zip((parts.box_head, *parts.cascade), cascade.positive_ious, weights, strict=True))


def _refine(config, delta_weights, suffix):
    return RefineBoxes(delta_weights, config.box_head.clamp_deltas, name=f"refine{suffix}")
