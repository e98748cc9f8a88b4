"""The steps that training and detection share, each joined from parts and layers as the config says."""

from mask_rcnn.layers.batch_norm import CountedRois
from mask_rcnn.layers.cascade import MeanScores, RefineBoxes, RefinedTargets, ScaleGradient
from mask_rcnn.layers.images import ImageWindows, NormalizeImages
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.roi import BoxHeadLosses, DetectionLayer, RoiTargets
from mask_rcnn.layers.rpn import Anchors, ProposalLayer
from mask_rcnn.poolers import POOLERS


def first_stage(parts, config, batch):
    """Looks for objects of any class (Faster R-CNN, section 3.1).

    Args:
        parts: `Parts`.
        config: the same `Config`.
        batch: dict of `images` and `image_sizes`.

    Returns:
        The list of maps that RoIs are pooled from, P2..P5 or the last of the backbone alone; and a dict of
        the RPN's `logits`, `deltas` and `anchors`, lists with an entry for each of its maps, of the `windows`
        of `ImageWindows`, and of all `between`, `{name: tensor}` in the names of `inference_model`.
    """
    settings = config.input
    source = parts.source
    # A sample of 16-bit images is `counts_per_level` times the gray level that it stands for.
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
    return maps[: len(source.strides)], rpn  # subsampled levels, such as P6, are for the RPN only


def _features(backbone, fpn, images, first_level):
    """Returns the maps of the FPN, or the last one of the backbone alone, and all of them by their names.

    Args:
        backbone, fpn: Of `Parts`.
        images: `[B, H, W, C]`, normalized.
        first_level: Level of the finest map.

    Returns:
        List of `[B, h, w, C]`; and a dict of them and those of the backbone: "C2", ..., and "P2", ...
    """
    stages = backbone(images)
    named = {f"C{level}": features for level, features in enumerate(stages, first_level)}
    if fpn is None:
        return stages[-1:], named
    pyramid = fpn(stages)
    return pyramid, named | {f"P{level}": features for level, features in enumerate(pyramid, first_level)}


def propose(config, rpn, pre_nms, post_nms):
    """Returns the dict of `ProposalLayer`, from the dict of `first_stage`."""
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
    """Cuts RoIs out of the maps for one of the heads.

    Args:
        parts: `Parts`.
        config: the same `Config`.
        maps: of `first_stage`.
        boxes: `[B, N, 4]`, yxyx.
        name: of the layer, such as "mask_pool".
        pool_size: side of the pooled features, P.
        counted: `[B, N]` bool, the RoIs whose statistics a batch normalization takes in training; None in
            inference.

    Returns:
        What RoIAlign gives, `[B * N, P, P, C]`, and what the head gets: the same or, in a ResNet-C4, what the
        fifth stage makes of it.
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
    return pooled, parts.roi_stage(pooled) if counted is None else CountedRois(parts.roi_stage)(
        pooled, counted
    )


def compare_boxes(parts, config, maps, rpn, proposals, batch):
    """Trains the box heads (Fast R-CNN, section 2.3; one after the other: Cascade R-CNN, section 4).

    Args:
        parts: `Parts`.
        config: the same `Config`.
        maps, rpn: of `first_stage`.
        proposals: of `propose`.
        batch: dict, the input of `training_model`.

    Returns:
        The dict of `RoiTargets` of the first head; and a dict of losses: `class_loss` and `box_loss`, of
        further heads `class2_loss`, `box2_loss`, ...
    """
    head, heads = config.box_head, _box_heads(parts, config)
    rois, outputs = proposals, {}
    for number, (network, positive_iou, weights) in enumerate(heads, start=1):
        suffix = str(number) if number > 1 else ""
        if number == 1:
            shares = (head.samples, head.positive_fraction)
            first = sampled = RoiTargets(*shares, positive_iou, weights, name="roi_targets")(rois, batch)
        else:
            sampled = RefinedTargets(positive_iou, weights, name=f"roi_targets{suffix}")(rois, batch)
        pooling = {"name": f"box_pool{suffix}", "pool_size": head.pool_size, "counted": sampled["valid"]}
        _, features = pool(parts, config, maps, sampled["rois"], **pooling)
        if len(heads) > 1:
            features = ScaleGradient(1 / len(heads), name=f"share{suffix}")(features)
        class_logits, deltas = CountedRois(network)(features, sampled["valid"])
        compare = BoxHeadLosses(head.box_loss_beta, head.box_loss, weights, name=f"box_head_losses{suffix}")
        losses = compare(class_logits, deltas, sampled)
        outputs |= {f"class{suffix}_loss": losses["class_loss"], f"box{suffix}_loss": losses["box_loss"]}
        if number < len(heads):
            rois = {"boxes": sampled["rois"], "valid": sampled["valid"]}
            rois = _refine(config, weights, suffix)(deltas, rois, rpn["windows"]["proposals"])
    return first, outputs


def detect(parts, config, maps, rpn, proposals):
    """Turns proposals into detections; a cascade takes the mean of all scores and the boxes of the last head.

    Args:
        parts: `Parts`.
        config: the same `Config`.
        maps, rpn: of `first_stage`.
        proposals: of `propose`.

    Returns:
        The dict of `DetectionLayer`, and a dict of all between, in the names of `inference_model`.
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
    """Returns the network, the IoU of a positive and the weights of the deltas of each box head in a row."""
    head, cascade = config.box_head, config.cascade
    if cascade is None:
        return [(parts.box_head, head.positive_iou, head.delta_weights)]
    weights = [tuple(scale * weight for weight in head.delta_weights) for scale in cascade.delta_scales]
    return list(zip((parts.box_head, *parts.cascade), cascade.positive_ious, weights, strict=True))


def _refine(config, delta_weights, suffix):
    return RefineBoxes(delta_weights, config.box_head.clamp_deltas, name=f"refine{suffix}")
