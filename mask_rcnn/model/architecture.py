"""The architecture of the paper: one set of networks, connected for training and for inference.

Backbone and FPN, RPN, proposals, RoI pooling, box head, then one branch for each further head, such as masks.
`stages` has the steps, `box_branch` and `cascade` the box heads.
"""

import dataclasses
from typing import Any

import keras

from mask_rcnn.config import Config
from mask_rcnn.data.input_pipeline.ground_truth import make_ground_truths
from mask_rcnn.heads import heads_of
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.rematerialize import rematerialized
from mask_rcnn.model.box_branch import box_losses, detect
from mask_rcnn.model.cascade import cascade_box_losses, detect_with_cascade
from mask_rcnn.model.parts import Parts
from mask_rcnn.model.stages import (
    extract_features,
    head_losses,
    positive_rois,
    predict_head,
    propose,
    rpn_losses,
    run_rpn,
)
from mask_rcnn.ops.detection_ops import TENSORFLOW, DetectionOps, using_detection_ops


def training_model(parts: Parts, config: Config) -> keras.Model:
    """Connects the parts for training.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.

    Returns:
        A functional `keras.Model`. Its input is a dict, a batch of `data.input_pipeline.pipeline`:
        `images`: `[B, H, W, C]`, RGB in 0..255 unless `config.input` says otherwise, padded.
        `image_sizes`: `[B, 2]`, (height, width) before padding.
        `gt_boxes`: `[B, T, 4]`, yxyx.
        `gt_class_ids`: `[B, T]` int32: at most G objects, then ignored regions (-1), then padding rows (0).
        `seeds`: `[B, 2]` int32.
        The arrays of the `GroundTruth` of each head, such as `gt_masks` `[B, G, C, C]` uint8, cropped to
        their boxes, and `gt_keypoints` `[B, G, J, 3]`, (y, x, visibility).
        Its output is a dict of losses, float32 `[B, 2]` each: the sum per image, and the count to divide it
        by (see `losses`; `Trainer` divides):
        `rpn_objectness_loss`, `rpn_box_loss`, `class_loss`, `box_loss`.
        `class2_loss`, `box2_loss`, ...: of the further heads of a cascade.
        `mask_loss`, `keypoint_loss`, ...: the losses that each head returns.
    """
    inputs = batch = _training_inputs(config)
    if config.train.rematerialize:
        parts = _rematerialized(parts)
    if config.inclusive_boxes:
        gt_boxes = MoveFarEdges(-1, name="gt_inclusive")(batch["gt_boxes"], batch["gt_class_ids"])
        batch = {**batch, "gt_boxes": gt_boxes}
    features = extract_features(parts, config, batch)
    rpn = run_rpn(parts, config, features=features, batch=batch)
    proposals = propose(config.rpn, rpn, pre_nms=config.rpn.train_pre_nms, post_nms=config.rpn.train_post_nms)
    losses = rpn_losses(config.rpn, rpn, batch)
    if config.cascade:
        sampled, branch_losses = cascade_box_losses(
            parts, config, features=features, rpn=rpn, proposals=proposals, batch=batch
        )
    else:
        sampled, branch_losses = box_losses(
            parts, config, features=features, proposals=proposals, batch=batch
        )
    losses |= branch_losses
    positives = positive_rois(config.box_head, sampled)
    for head in heads_of(config):
        losses |= head_losses(parts, config, head=head, features=features, positives=positives, batch=batch)
    return keras.Model(inputs, losses, name="mask_rcnn_training")


def inference_model(
    parts: Parts,
    config: Config,
    intermediates: bool = False,
    *,
    detection_ops: DetectionOps = TENSORFLOW,
) -> keras.Model:
    """Connects the parts for inference.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        intermediates: Whether to output intermediate tensors, too. Defaults to False.
        detection_ops: Operations of anchors, NMS and RoI pooling. Exports pass those of their runtime.
            Defaults to those of TensorFlow.

    Returns:
        A functional `keras.Model`. Its input is a dict:
        `images`: `[B, H, W, C]`, RGB in 0..255 unless `config.input` says otherwise, zero-padded.
        `image_sizes`: `[B, 2]`, (height, width) before padding.
        Its output is a dict:
        `boxes`: `[B, D, 4]`, yxyx, pixels of the resized image, best first.
        `scores`: `[B, D]` in 0..1.
        `class_ids`: `[B, D]` int32; 0 in padding rows after the last detection.
        `masks`: `[B, D, M, M]`, probabilities inside the boxes; with a mask head.
        `keypoint_heatmaps`: `[B, D, S, S, J]`, logits; with a keypoint head.
        With `intermediates` also:
        `normalized`: `[B, H, W, C]`.
        `C2`..`C5`, `P2`..`P6`: `[B, h, w, C]`, those that exist; `rpn_C2`.., `rpn_P2`.. of a separate RPN.
        `rpn_logits` `[B, h, w, A]`, `rpn_deltas` `[B, h, w, A * 4]`, `anchors` `[h * w * A, 4]`: lists, by
        level. `proposals` `[B, N, 4]`, `proposal_scores` `[B, N]` (logits), `proposals_valid` `[B, N]`.
        `box_pooled` `[B * N, P, P, C]`, `class_logits` `[B * N, K + 1]`.
        `box_deltas`: `[B * N, (K + 1) * 4]`, or `[B * N, 4]` if class-agnostic.
        `proposals2`, `box_pooled2`, `class_logits2`, `box_deltas2`, ..., `mean_logits`: of a cascade.
        `mask_pooled`, `mask_logits`, ...: `[B * D, ...]` for each head.
    """
    inputs = _image_inputs(config)
    with using_detection_ops(detection_ops):
        outputs, tensors = _connect_inference(parts, config, inputs)
    return keras.Model(inputs, outputs | tensors if intermediates else outputs, name="mask_rcnn")


def _connect_inference(
    parts: Parts, config: Config, batch: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the output and the intermediate tensors of `inference_model`, a dict each."""
    features = extract_features(parts, config, batch)
    rpn = run_rpn(parts, config, features=features, batch=batch)
    proposals = propose(config.rpn, rpn, pre_nms=config.rpn.pre_nms, post_nms=config.rpn.post_nms)
    if config.cascade:
        detections, box_tensors = detect_with_cascade(
            parts, config, features=features, rpn=rpn, proposals=proposals
        )
    else:
        windows = rpn.windows["detections"]
        detections, box_tensors = detect(
            parts, config, features=features, proposals=proposals, windows=windows
        )
    tensors = {
        **features.named,
        "rpn_logits": rpn.logits,
        "rpn_deltas": rpn.deltas,
        "anchors": rpn.anchors,
        "proposals": proposals["boxes"],
        "proposal_scores": proposals["scores"],
        "proposals_valid": proposals["valid"],
        **box_tensors,
    }
    outputs = dict(detections)
    for head in heads_of(config):
        predictions, head_tensors = predict_head(
            parts, config, head=head, features=features, detections=detections
        )
        outputs |= predictions
        tensors |= head_tensors
    if config.inclusive_boxes:
        outputs["boxes"] = MoveFarEdges(1, name="boxes")(outputs["boxes"], outputs["class_ids"])
    return outputs, tensors


def _rematerialized(parts: Parts) -> Parts:
    """Returns parts whose backbones keep fewer activations for the backward pass."""
    backbones = {"backbone": parts.backbone, "rpn_backbone": parts.rpn_backbone}
    return dataclasses.replace(
        parts, **{name: rematerialized(network) for name, network in backbones.items() if network is not None}
    )


def _image_inputs(config: Config) -> dict[str, Any]:
    shape, dtype = (None, None, config.input.channels), keras.config.dtype_policy().variable_dtype
    return {
        "images": keras.Input(shape, dtype=dtype, name="images"),
        "image_sizes": keras.Input((2,), name="image_sizes"),
    }


def _training_inputs(config: Config) -> dict[str, Any]:
    batch = {
        **_image_inputs(config),
        "gt_boxes": keras.Input((None, 4), name="gt_boxes"),
        "gt_class_ids": keras.Input((None,), dtype="int32", name="gt_class_ids"),
        "seeds": keras.Input((2,), dtype="int32", name="seeds"),
    }
    for ground_truth in make_ground_truths(config):
        for name, (shape, dtype) in ground_truth.spec().items():
            batch[name] = keras.Input(shape, dtype=dtype, name=name)
    return batch
