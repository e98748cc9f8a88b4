"""The model: one set of parts, two functional models. The figure of the paper, from top to bottom.

`build_parts` makes the networks that hold the weights; `training_model` and `inference_model` join them.
"""

import contextlib
from dataclasses import dataclass

import keras
import tensorflow as tf

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.images import NormalizeImages
from mask_rcnn.layers.keypoints import KeypointHeatmaps, KeypointLoss
from mask_rcnn.layers.masks import FirstRois, MaskLoss, MaskProbabilities, MergeRois
from mask_rcnn.layers.roi import BoxHeadLosses, DetectionLayer, RoiPool, RoiTargets
from mask_rcnn.layers.rpn import Anchors, ProposalLayer, RpnLosses
from mask_rcnn.networks.efficientnet_lite import efficientnet_lite0
from mask_rcnn.networks.fpn import fpn
from mask_rcnn.networks.heads import box_head, mask_head, rpn_head
from mask_rcnn.networks.keypoints import keypoint_head
from mask_rcnn.networks.resnet import resnet


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The networks of a model. Their weights are all there is to save.

    `backbone`: `[B, H, W, 3]` normalised to C2..C5. `fpn`: C2..C5 to P2..P6. `rpn_head`: a map to logits
    and deltas. `box_head`: pooled RoIs to class logits and deltas. `mask_head`: pooled RoIs and class ids
    to mask logits; `keypoint_head`: pooled RoIs to heatmaps; None each where there is no such branch.
    """

    backbone: keras.Model
    fpn: keras.Model
    rpn_head: keras.Model
    box_head: keras.Model
    mask_head: keras.Model | None
    keypoint_head: keras.Model | None

    def named(self):
        """Returns the parts that are there, `{name: keras.Model}`."""
        return {name: part for name, part in vars(self).items() if part is not None}


def build_parts(config, winograd=None):
    """Builds the networks that `config` describes, with random weights.

    Args:
        config: a `Config`.
        winograd: their wide 3x3 convolutions are computed by `ops.winograd`, see `ConvNorm`; None where
            TensorFlow has nothing but CPUs. False is for graphs that others are to run: the weights and, up
            to rounding, the results are the same.

    Returns:
        `Parts`.
    """
    backbone = _build_backbone(config.backbone)
    channels = config.fpn.channels
    num_outputs = config.num_classes + 1
    box, mask, points = config.box_head, config.mask_head, config.keypoint_head
    parts = Parts(
        backbone=backbone,
        fpn=fpn([x.shape[-1] for x in backbone.outputs], channels, config.fpn.norm),
        rpn_head=rpn_head(channels, config.rpn.channels, len(config.anchors.ratios), config.rpn.convs),
        box_head=box_head(channels, box.pool_size, box.dense_units, num_outputs),
        mask_head=mask and mask_head(channels, mask.pool_size, mask.convs, mask.channels, num_outputs),
        keypoint_head=points
        and keypoint_head(channels, points.pool_size, points.convs, points.channels, len(points.names)),
    )
    if winograd is None:
        winograd = all(device.device_type == "CPU" for device in tf.config.list_physical_devices())
    for part in parts.named().values():
        for layer in part.layers:
            if isinstance(layer, ConvNorm):
                layer.winograd = winograd
    return parts


@contextlib.contextmanager
def dtype_policy(name):
    """Layers that are made inside compute as the dtype policy `name` says."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def training_model(parts, config):
    """Joins the parts for training.

    Args:
        parts: of `build_parts`.
        config: the same `Config`.

    Returns:
        A functional `keras.Model`. Its input is a dict, a batch of `data.pipeline`:
        `images` `[B, H, W, 3]` RGB 0..255, zero-padded; `image_sizes` `[B, 2]`; `gt_boxes` `[B, G, 4]`;
        `gt_class_ids` `[B, G]` int32, 0 padding, -1 crowd; `gt_masks` `[B, G, C, C]` uint8, cropped to
        their boxes (only with a mask head); `gt_keypoints` `[B, G, J, 3]`, (y, x, visibility) (only with a
        keypoint head); `seeds` `[B, 2]` int32.
        Its output is a dict of losses, float32 `[B]` each: `rpn_objectness_loss`, `rpn_box_loss`,
        `class_loss`, `box_loss` and, with these heads, `mask_loss` and `keypoint_loss`.
    """
    batch = _training_inputs(config)
    pyramid, rpn = _first_stage(parts, config, batch)
    proposals = _proposals(config.rpn, rpn, batch, config.rpn.train_pre_nms, config.rpn.train_post_nms)
    outputs = RpnLosses(
        config.rpn.samples,
        config.rpn.positive_fraction,
        config.rpn.positive_iou,
        config.rpn.negative_iou,
        config.rpn.box_loss_beta,
        name="rpn_losses",
    )(rpn["logits"], rpn["deltas"], rpn["anchors"], batch)

    head = config.box_head
    sampled = RoiTargets(
        head.samples, head.positive_fraction, head.positive_iou, head.delta_weights, name="roi_targets"
    )(proposals, batch)
    pooled = _roi_pool(config, head.pool_size, "box_pool")(pyramid, sampled["rois"])
    class_logits, deltas = parts.box_head(pooled)
    outputs |= BoxHeadLosses(head.box_loss_beta, name="box_head_losses")(class_logits, deltas, sampled)

    positives = FirstRois(int(head.samples * head.positive_fraction), name="positives")(sampled)
    if parts.mask_head:
        pooled = _roi_pool(config, config.mask_head.pool_size, "mask_pool")(pyramid, positives["rois"])
        class_ids = MergeRois(name="mask_class_ids")(positives["class_ids"])
        mask_logits = parts.mask_head([pooled, class_ids])
        outputs["mask_loss"] = MaskLoss(name="mask_loss")(mask_logits, positives, batch)
    if parts.keypoint_head:
        points = config.keypoint_head
        pooled = _roi_pool(config, points.pool_size, "keypoint_pool")(pyramid, positives["rois"])
        heatmaps = parts.keypoint_head(pooled)
        loss = KeypointLoss(points.loss_weight, name="keypoint_loss")
        outputs["keypoint_loss"] = loss(heatmaps, positives, batch)
    return keras.Model(batch, outputs, name="mask_rcnn_training")


def inference_model(parts, config, intermediates=False):
    """Joins the parts for detection.

    Args:
        parts: of `build_parts`.
        config: the same `Config`.
        intermediates: the outputs hold what lies between, too.

    Returns:
        A functional `keras.Model`. Its input is a dict: `images` `[B, H, W, 3]` RGB 0..255, zero-padded;
        `image_sizes` `[B, 2]`, (height, width) before padding. Its output is a dict:
        `boxes` `[B, D, 4]` yxyx, pixels of the resized image, best first; `scores` `[B, D]` in 0..1;
        `class_ids` `[B, D]` int32, 0 behind the last detection; with a mask head `masks` `[B, D, M, M]`,
        probabilities inside the boxes; with a keypoint head `keypoint_heatmaps` `[B, D, S, S, J]`, logits.
        With `intermediates` also `normalized` `[B, H, W, 3]`; `C2`..`C5`, `P2`..`P6` `[B, h, w, C]`;
        `rpn_logits`, `rpn_deltas`, `anchors`: lists, one for each level, `[B, h, w, A]`, `[B, h, w, A * 4]`
        and `[h * w * A, 4]`; `proposals` `[B, N, 4]`, `proposal_scores` `[B, N]` (logits) and
        `proposals_valid` `[B, N]`; `box_pooled` `[B * N, P, P, C]`, `class_logits` `[B * N, K + 1]`,
        `box_deltas` `[B * N, (K + 1) * 4]`; `mask_pooled`, `mask_logits` and
        `keypoint_pooled` `[B * D, ...]`.
    """
    batch = _image_inputs()
    pyramid, rpn = _first_stage(parts, config, batch)
    proposals = _proposals(config.rpn, rpn, batch, config.rpn.pre_nms, config.rpn.post_nms)

    head = config.box_head
    box_pooled = _roi_pool(config, head.pool_size, "box_pool")(pyramid, proposals["boxes"])
    class_logits, deltas = parts.box_head(box_pooled)
    outputs = DetectionLayer(
        head.delta_weights,
        head.score_threshold,
        head.nms_iou,
        head.max_detections,
        head.min_size,
        name="detections",
    )(class_logits, deltas, proposals, batch["image_sizes"])
    between = {
        **rpn["between"],
        "proposals": proposals["boxes"],
        "proposal_scores": proposals["scores"],
        "proposals_valid": proposals["valid"],
        "box_pooled": box_pooled,
        "class_logits": class_logits,
        "box_deltas": deltas,
    }
    if parts.mask_head:
        pooled = _roi_pool(config, config.mask_head.pool_size, "mask_pool")(pyramid, outputs["boxes"])
        class_ids = MergeRois(name="mask_class_ids")(outputs["class_ids"])
        mask_logits = parts.mask_head([pooled, class_ids])
        outputs["masks"] = MaskProbabilities(name="masks")(mask_logits, outputs["boxes"])
        between |= {"mask_pooled": pooled, "mask_logits": mask_logits}
    if parts.keypoint_head:
        pooled = _roi_pool(config, config.keypoint_head.pool_size, "keypoint_pool")(pyramid, outputs["boxes"])
        heatmaps = parts.keypoint_head(pooled)
        outputs["keypoint_heatmaps"] = KeypointHeatmaps(name="keypoint_heatmaps")(heatmaps, outputs["boxes"])
        between |= {"keypoint_pooled": pooled}
    return keras.Model(batch, outputs | between if intermediates else outputs, name="mask_rcnn")


def _build_backbone(config):
    if config.name == "efficientnet_lite0":
        return efficientnet_lite0(config.norm, config.frozen_stages)
    return resnet(config.name, config.norm, config.norm_epsilon, config.stride_in_1x1, config.frozen_stages)


def _image_inputs():
    return {
        "images": keras.Input(
            (None, None, 3), dtype=keras.config.dtype_policy().variable_dtype, name="images"
        ),
        "image_sizes": keras.Input((2,), name="image_sizes"),
    }


def _training_inputs(config):
    num_objects, side = config.input.max_instances, config.input.mask_crop_size
    batch = {
        **_image_inputs(),
        "gt_boxes": keras.Input((num_objects, 4), name="gt_boxes"),
        "gt_class_ids": keras.Input((num_objects,), dtype="int32", name="gt_class_ids"),
        "seeds": keras.Input((2,), dtype="int32", name="seeds"),
    }
    if config.mask_head:
        batch["gt_masks"] = keras.Input((num_objects, side, side), dtype="uint8", name="gt_masks")
    if config.keypoint_head:
        num_keypoints = len(config.keypoint_head.names)
        batch["gt_keypoints"] = keras.Input((num_objects, num_keypoints, 3), name="gt_keypoints")
    return batch


def _first_stage(parts, config, batch):
    """Images to the pyramid that RoIs are pooled from, and the dict of all that the RPN says of it."""
    normalized = NormalizeImages(config.input.mean, config.input.std, name="normalize")(
        batch["images"], batch["image_sizes"]
    )
    stages = parts.backbone(normalized)
    pyramid = parts.fpn(stages)
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
        **{f"P{level}": features for level, features in enumerate(pyramid, start=2)},
        "rpn_logits": rpn["logits"],
        "rpn_deltas": rpn["deltas"],
        "anchors": anchors,
    }
    return pyramid[:-1], rpn  # P6 is for the RPN only


def _proposals(config, rpn, batch, pre_nms, post_nms):
    layer = ProposalLayer(pre_nms, post_nms, config.nms_iou, config.min_size, name="proposals")
    return layer(rpn["logits"], rpn["deltas"], rpn["anchors"], batch["image_sizes"])


def _roi_pool(config, pool_size, name):
    return RoiPool(
        config.anchors.strides[:-1],
        pool_size,
        config.roi_align.sampling_ratio,
        config.roi_align.aligned,
        config.roi_align.level_epsilon,
        config.roi_align.level_offset,
        name=name,
    )
