"""The steps that training and detection share, each joined from parts and layers as the config says."""

from mask_rcnn.layers.images import ImageWindows, NormalizeImages
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.roi import RoiPool
from mask_rcnn.layers.rpn import Anchors, ProposalLayer


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
    normalize = NormalizeImages(
        settings.mean, settings.std, settings.padding, settings.centered, name="normalize"
    )
    normalized = normalize(batch["images"], batch["image_sizes"])
    stages = parts.backbone(normalized)
    pyramid = parts.fpn(stages) if parts.fpn else stages[-1:]
    anchors = Anchors(
        config.anchors.sizes,
        config.anchors.strides,
        config.anchors.ratios,
        config.anchors.rounded,
        config.anchors.stride_from_padded_size,
        name="anchors",
    )(pyramid, batch["images"])
    if config.inclusive_boxes:
        anchors = [MoveFarEdges(-1, name=f"anchors{i}_inclusive")(x) for i, x in enumerate(anchors)]
    logits, deltas = zip(*(parts.rpn_head(features) for features in pyramid), strict=True)
    windows = ImageWindows(settings.centered, config.inclusive_boxes, name="windows")(
        batch["image_sizes"], *([batch["images"]] if settings.centered else [])
    )
    rpn = {"logits": list(logits), "deltas": list(deltas), "anchors": anchors, "windows": windows}
    rpn["between"] = {
        "normalized": normalized,
        **{f"C{level}": features for level, features in enumerate(stages, start=2)},
        "rpn_logits": rpn["logits"],
        "rpn_deltas": rpn["deltas"],
        "anchors": anchors,
    }
    if parts.fpn:
        rpn["between"] |= {f"P{level}": features for level, features in enumerate(pyramid, start=2)}
        return pyramid[:-1], rpn  # P6 is for the RPN only
    return pyramid, rpn


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


def pool(parts, config, maps, boxes, branch):
    """Cuts RoIs out of the maps for one of the heads.

    Args:
        parts: `Parts`.
        config: the same `Config`.
        maps: of `first_stage`.
        boxes: `[B, N, 4]`, yxyx.
        branch: "box", "mask" or "keypoint".

    Returns:
        What RoIAlign gives, `[B * N, P, P, C]`, and what the head gets: the same or, in a ResNet-C4, what the
        fifth stage makes of it.
    """
    align = config.roi_align
    pooled = RoiPool(
        config.anchors.strides[: len(maps)],
        getattr(config, f"{branch}_head").pool_size,
        align.sampling_ratio,
        align.aligned,
        {"epsilon": align.level_epsilon, "offset": align.level_offset, "rounding": align.level_rounding},
        align.method == "crop_and_resize",
        name=f"{branch}_pool",
    )(maps, boxes)
    return pooled, parts.roi_stage(pooled) if parts.roi_stage else pooled
