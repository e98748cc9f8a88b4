"""Connects one set of networks (`build_parts`) to a `training_model` and an `inference_model`."""

import contextlib
import dataclasses
from dataclasses import dataclass

import keras

from mask_rcnn.backbones import Backbone, build_backbone, pyramid_strides
from mask_rcnn.data.ground_truth import make_ground_truths
from mask_rcnn.heads import heads_of
from mask_rcnn.layers.batch_norm import ValidRois
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.masks import PositiveRois
from mask_rcnn.layers.rematerialize import rematerialized
from mask_rcnn.layers.rpn import RpnLosses
from mask_rcnn.networks.fpn import fpn
from mask_rcnn.networks.heads import box_head, hidden_convs, rpn_head
from mask_rcnn.ops.kernels import using_kernels, warn_of_slow_precision
from mask_rcnn.stages import box_head_losses, detect, first_stage, pool, propose


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The networks of a model. They contain all weights. A part is None if the config does without it.

    Attributes:
        source: The `Backbone` record, with the strides of the maps that the detector uses.
        backbone: Normalized images `[B, H, W, C]` to maps such as C2..C5 (C2..C4 if there is a `roi_stage`).
        fpn: Maps of the backbone to P2..P6.
        rpn_backbone, rpn_fpn: Separate backbone and FPN of the RPN. None if it shares those of the heads.
        rpn_head: One map to logits and deltas.
        roi_stage: Pooled RoIs to the features of the heads (ResNet-C4).
        box_head: RoI features to class logits and deltas.
        cascade: The further box heads of a cascade.
        heads: The networks of `heads_of(config)` by name, such as `mask_head`.
    """

    source: Backbone
    backbone: keras.Model
    fpn: keras.Model | None
    rpn_backbone: keras.Model | None
    rpn_fpn: keras.Model | None
    rpn_head: keras.Model
    roi_stage: keras.Model | None
    box_head: keras.Model
    cascade: tuple[keras.Model, ...]
    heads: dict[str, keras.Model]

    def named(self):
        """Returns all existing networks, `{name: keras.Model}`. Those of a cascade are `box_head2`, ..."""
        parts = {name: part for name, part in vars(self).items() if isinstance(part, keras.Model)}
        return parts | self.heads | {part.name: part for part in self.cascade}


def build_parts(config, kernels=None):
    """Builds the networks that `config` describes, with random weights.

    Args:
        config: A `Config`.
        kernels: Implementation of the convolutions: "cpu", the fastest on CPUs; "gpu", TensorFlow's own
            operations; "portable", only operations that other runtimes have, for exports. Defaults to None:
            "gpu" on a machine with a GPU, otherwise "cpu". Weights and, up to rounding, results are the same.

    Returns:
        `Parts`.
    """
    with using_kernels(kernels):
        return _build_parts(config)


def _build_parts(config):
    source, pyramid = _build_features(config)
    rpn_backbone, rpn_fpn = _build_rpn_features(config, source)
    in_channels = config.fpn.channels if config.fpn else source.model.outputs[-1].shape[-1]
    num_anchors = len(config.anchors.ratios) * len(config.anchors.sizes) // len(config.anchors.strides)
    return Parts(
        source=source,
        backbone=source.model,
        fpn=pyramid,
        rpn_backbone=rpn_backbone,
        rpn_fpn=rpn_fpn,
        rpn_head=rpn_head(in_channels, config.rpn.channels, num_anchors, config.rpn.convs),
        roi_stage=source.roi_stage,
        **_build_heads(config, in_channels, source.roi_stage),
    )


@contextlib.contextmanager
def dtype_policy(name):
    """Context manager that sets Keras's global dtype policy. Warns once if it is slow on this machine."""
    warn_of_slow_precision(name)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def training_model(parts, config):
    """Connects the parts for training.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.

    Returns:
        A functional `keras.Model`. Its input is a dict, a batch of `data.pipeline`:
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
        names = ("backbone", "rpn_backbone")
        again = {name: rematerialized(part) for name, part in parts.named().items() if name in names}
        parts = dataclasses.replace(parts, **again)
    if config.inclusive_boxes:
        truth = MoveFarEdges(-1, name="gt_inclusive")(batch["gt_boxes"], batch["gt_class_ids"])
        batch = {**batch, "gt_boxes": truth}
    maps, rpn = first_stage(parts, config, batch)
    proposals = propose(config.rpn, rpn, config.rpn.train_pre_nms, config.rpn.train_post_nms)
    outputs = RpnLosses(
        config.rpn.samples,
        config.rpn.positive_fraction,
        config.rpn.positive_iou,
        config.rpn.negative_iou,
        config.rpn.box_loss_beta,
        config.rpn.box_loss,
        name="rpn_losses",
    )(rpn["logits"], rpn["deltas"], rpn["anchors"], batch)

    sampled, losses = box_head_losses(parts, config, maps, rpn, proposals, batch)
    outputs |= losses
    num_positives = int(config.box_head.samples * config.box_head.positive_fraction)
    positives = PositiveRois(num_positives, name="positives")(sampled)
    for head in heads_of(config):
        _, features = pool(
            parts, config, maps, positives["rois"], **head.pooling, counted=positives["positive"]
        )
        arguments = head.network_inputs(features, positives["class_ids"])
        found = ValidRois(parts.heads[head.part])(arguments, positives["positive"])
        outputs |= head.loss(found, positives, batch)
    return keras.Model(inputs, outputs, name="mask_rcnn_training")


def inference_model(parts, config, intermediates=False):
    """Connects the parts for inference.

    Args:
        parts: `Parts` of `build_parts`.
        config: The `Config` of the parts.
        intermediates: Whether to output intermediate tensors, too. Defaults to False.

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
    batch = _image_inputs(config)
    maps, rpn = first_stage(parts, config, batch)
    proposals = propose(config.rpn, rpn, config.rpn.pre_nms, config.rpn.post_nms)
    outputs, between = detect(parts, config, maps, rpn, proposals)
    between |= {
        **rpn["between"],
        "proposals": proposals["boxes"],
        "proposal_scores": proposals["scores"],
        "proposals_valid": proposals["valid"],
    }
    boxes, class_ids = outputs["boxes"], outputs["class_ids"]
    for head in heads_of(config):
        pooled, features = pool(parts, config, maps, boxes, **head.pooling)
        found = parts.heads[head.part](head.network_inputs(features, class_ids))
        outputs |= head.predict(found, boxes)
        between |= {f"{head.name}_pooled": pooled, f"{head.name}_logits": found}
    if config.inclusive_boxes:
        outputs["boxes"] = MoveFarEdges(1, name="boxes")(outputs["boxes"], outputs["class_ids"])
    return keras.Model(batch, outputs | between if intermediates else outputs, name="mask_rcnn")


def _build_features(config):
    """Returns a `Backbone` and its FPN. The FPN is None if the config has none."""
    source = _build_backbone(config)
    channels = [x.shape[-1] for x in source.model.outputs]
    return source, config.fpn and fpn(
        channels,
        config.fpn.channels,
        config.fpn.norm,
        config.fpn.norm_epsilon,
        first_level=source.first_level,
        subsampled=len(config.anchors.strides) - len(channels),
    )


def _build_rpn_features(config, shared):
    """Returns the separate backbone and FPN of the RPN; None for each that does not exist.

    `shared` is the `Backbone` of the heads. The backbone of the RPN must not share weights with it.
    """
    if config.rpn.shared_features:
        return None, None
    source, pyramid = _build_features(config)
    if {id(v) for v in source.model.weights} & {id(v) for v in shared.model.weights}:
        raise ValueError(
            "With `rpn.shared_features=false` a registered backbone must build a new network in each call. "
            f"Received: backbone.name={config.backbone.name!r}, which returns the same weights twice. "
            "Build the network inside of the registered function, for example with `from_keras_model`."
        )
    return _renamed(source.model, "rpn_backbone"), pyramid and _renamed(pyramid, "rpn_fpn")


def _renamed(network, name):
    return keras.Model(network.inputs, network.outputs, name=name)


def _build_backbone(config):
    """Returns the `Backbone`, limited to the maps with the strides in `anchors.strides`."""
    source = build_backbone(config)
    strides = pyramid_strides(source.strides, config.anchors.strides, config.fpn is not None)
    if not config.fpn or strides == source.strides:
        return source
    start = source.strides.index(strides[0])
    outputs = source.model.outputs[start : start + len(strides)]
    model = keras.Model(source.model.inputs, outputs, name="backbone")
    return dataclasses.replace(source, model=model, strides=strides)


def _build_heads(config, in_channels, stage):
    """Returns `box_head`, `cascade` and `heads` of `Parts`, a dict. RoIs pass `stage` before the heads."""
    box = config.box_head
    num_outputs = config.num_classes + 1

    def pooled_shape(side):
        shape = (None, side, side, in_channels)
        return (stage.compute_output_shape(shape) if stage else shape)[1:]

    def make_box_head(name):
        shape = pooled_shape(box.pool_size)
        convs = hidden_convs(box.convs, box.conv_channels, box.norm, box.norm_epsilon)
        return box_head(
            shape, convs, box.dense_units, num_outputs, box.average_pool, box.class_agnostic, name
        )

    further = range(2, 1 + len(config.cascade.positive_ious)) if config.cascade else ()
    return {
        "box_head": make_box_head("box_head"),
        "cascade": tuple(make_box_head(f"box_head{number}") for number in further),
        "heads": {head.part: head.build(pooled_shape(head.settings.pool_size)) for head in heads_of(config)},
    }


def _image_inputs(config):
    shape, dtype = (None, None, config.input.channels), keras.config.dtype_policy().variable_dtype
    return {
        "images": keras.Input(shape, dtype=dtype, name="images"),
        "image_sizes": keras.Input((2,), name="image_sizes"),
    }


def _training_inputs(config):
    batch = {
        **_image_inputs(config),
        "gt_boxes": keras.Input((None, 4), name="gt_boxes"),
        "gt_class_ids": keras.Input((None,), dtype="int32", name="gt_class_ids"),
        "seeds": keras.Input((2,), dtype="int32", name="seeds"),
    }
    for truth in make_ground_truths(config):
        for name, (shape, dtype) in truth.spec().items():
            batch[name] = keras.Input(shape, dtype=dtype, name=name)
    return batch
