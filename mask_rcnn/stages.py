"""The steps that training and detection share, each joined from parts and layers as the config says."""

from mask_rcnn.layers.images import NormalizeImages
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
        the RPN's `logits`, `deltas` and `anchors`, lists with an entry for each of its maps, and of all
        `between`, `{name: tensor}` in the names of `inference_model`.
    """
    normalized = NormalizeImages(config.input.mean, config.input.std, name="normalize")(
        batch["images"], batch["image_sizes"]
    )
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
    logits, deltas = zip(*(parts.rpn_head(features) for features in pyramid), strict=True)
    rpn = {"logits": list(logits), "deltas": list(deltas), "anchors": anchors}
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


def propose(config, rpn, batch, pre_nms, post_nms):
    """Returns the dict of `ProposalLayer`, from the dict of `first_stage`."""
    layer = ProposalLayer(pre_nms, post_nms, config.nms_iou, config.min_size, name="proposals")
    return layer(rpn["logits"], rpn["deltas"], rpn["anchors"], batch["image_sizes"])


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
    pooled = RoiPool(
        config.anchors.strides[: len(maps)],
        getattr(config, f"{branch}_head").pool_size,
        config.roi_align.sampling_ratio,
        config.roi_align.aligned,
        config.roi_align.level_epsilon,
        config.roi_align.level_offset,
        name=f"{branch}_pool",
    )(maps, boxes)
    return pooled, parts.roi_stage(pooled) if parts.roi_stage else pooled
