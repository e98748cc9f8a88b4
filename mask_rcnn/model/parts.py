"""Builds the networks of a model from its config."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from mask_rcnn.backbones import Backbone, build_backbone, pyramid_strides
from mask_rcnn.config import Config
from mask_rcnn.heads import heads_of
from mask_rcnn.networks.fpn import fpn
from mask_rcnn.networks.heads import box_head, hidden_convs, rpn_head
from mask_rcnn.ops.implementation import Implementation, using_implementation, warn_of_slow_precision


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
        cascade: The further box heads of a cascade. Empty without a cascade.
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

    def named(self) -> dict[str, keras.Model]:
        """Returns all existing networks, `{name: keras.Model}`. Those of a cascade are `box_head2`, ..."""
        parts = {name: part for name, part in vars(self).items() if isinstance(part, keras.Model)}
        return parts | self.heads | {part.name: part for part in self.cascade}


def build_parts(config: Config, implementation: Implementation | None = None) -> Parts:
    """Builds the networks that `config` describes, with random weights.

    Args:
        config: A `Config`.
        implementation: Operations that compute the convolutions: "cpu", the fastest on CPUs; "gpu",
            TensorFlow's own operations; "portable", only operations that other runtimes have, for exports.
            Defaults to None: "gpu" on a machine with a GPU, otherwise "cpu". Weights and, up to rounding,
            results are the same.

    Returns:
        `Parts`.
    """
    with using_implementation(implementation):
        return _build_parts(config)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Context manager that sets Keras's global dtype policy. Warns once if it is slow on this machine.

    Args:
        name: Name of a Keras dtype policy, such as "float32" or "mixed_bfloat16".
    """
    warn_of_slow_precision(name)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _build_parts(config: Config) -> Parts:
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
        rpn_head=rpn_head(
            in_channels, channels=config.rpn.channels, num_anchors=num_anchors, convs=config.rpn.convs
        ),
        roi_stage=source.roi_stage,
        **_build_heads(config, in_channels, source.roi_stage),
    )


def _build_features(config: Config) -> tuple[Backbone, keras.Model | None]:
    """Returns a `Backbone` and its FPN. The FPN is None if the config has none."""
    source = _build_backbone(config)
    if config.fpn is None:
        return source, None
    channels = [x.shape[-1] for x in source.model.outputs]
    return source, fpn(
        channels,
        config.fpn.channels,
        norm=config.fpn.norm,
        norm_epsilon=config.fpn.norm_epsilon,
        first_level=source.first_level,
        subsampled=len(config.anchors.strides) - len(channels),
    )


def _build_rpn_features(config: Config, shared: Backbone) -> tuple[keras.Model | None, keras.Model | None]:
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


def _renamed(network: keras.Model, name: str) -> keras.Model:
    return keras.Model(network.inputs, network.outputs, name=name)


def _build_backbone(config: Config) -> Backbone:
    """Returns the `Backbone`, limited to the maps with the strides in `anchors.strides`."""
    source = build_backbone(config)
    strides = pyramid_strides(source.strides, config.anchors.strides, config.fpn is not None)
    if not config.fpn or strides == source.strides:
        return source
    start = source.strides.index(strides[0])
    outputs = source.model.outputs[start : start + len(strides)]
    model = keras.Model(source.model.inputs, outputs, name="backbone")
    return dataclasses.replace(source, model=model, strides=strides)


def _build_heads(config: Config, in_channels: int, roi_stage: keras.Model | None) -> dict[str, Any]:
    """Returns `box_head`, `cascade` and `heads` of `Parts`, a dict.

    Args:
        config: The `Config`.
        in_channels: Channels of the maps that RoIs are pooled from.
        roi_stage: The network between RoI pooling and the heads, or None.
    """
    settings = config.box_head

    def pooled_shape(side):
        shape = (None, side, side, in_channels)
        return (roi_stage.compute_output_shape(shape) if roi_stage else shape)[1:]

    def build_box_head(name):
        shape = pooled_shape(settings.pool_size)
        convs = hidden_convs(
            settings.convs, settings.conv_channels, norm=settings.norm, norm_epsilon=settings.norm_epsilon
        )
        return box_head(
            shape,
            convs,
            dense_units=settings.dense_units,
            num_outputs=config.num_classes + 1,
            average_pool=settings.average_pool,
            class_agnostic=settings.class_agnostic,
            name=name,
        )

    further = range(2, 1 + len(config.cascade.positive_ious)) if config.cascade else ()
    return {
        "box_head": build_box_head("box_head"),
        "cascade": tuple(build_box_head(f"box_head{number}") for number in further),
        "heads": {head.part: head.build(pooled_shape(head.settings.pool_size)) for head in heads_of(config)},
    }
