"""Initial weights of a detector: random, an ImageNet backbone, or another detector."""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from absl import logging

from mask_rcnn.backbones import BACKBONES, Backbone
from mask_rcnn.backbones.input_channels import inflated_arrays
from mask_rcnn.config import BackboneConfig, Config
from mask_rcnn.heads import heads_of
from mask_rcnn.model import Parts
from mask_rcnn.model_zoo.backbones import IMAGENET, load_backbone
from mask_rcnn.model_zoo.pretrained import checkpoint_file, weights_file
from mask_rcnn.model_zoo.registry import ENTRIES, find
from mask_rcnn.poolers import POOLERS
from mask_rcnn.structures import Category
from mask_rcnn.system.terminal import print_line
from mask_rcnn.weights import assign_variables, read_arrays, read_header, variables

T = TypeVar("T")

# Conventions that weights were trained with. If one differs, results get worse without an error.
BACKBONE_CONVENTIONS = ("input.mean", "input.std", "backbone.name", "backbone.stride_in_1x1")
CONVENTIONS = (
    *BACKBONE_CONVENTIONS,
    "inclusive_boxes",
    "backbone.norm",
    "backbone.norm_epsilon",
    "backbone.stem_pool_padding",
    "anchors.sizes",
    "anchors.strides",
    "anchors.ratios",
    "anchors.rounded",
    "anchors.stride_from_padded_size",
    "roi_align.method",
    "roi_align.aligned",
    "roi_align.sampling_ratio",
    "box_head.delta_weights",
)


def check_initial_weights(config: Config) -> None:
    """Checks, before any data is read, that a new run can load the initial weights that its config names.

    Args:
        config: `Config`.

    Raises:
        FileNotFoundError: A weights file does not exist.
        OSError: Published weights cannot be downloaded. The message says which file to put where by hand.
        ValueError: A frozen part would have random weights, the weights cannot fit, or the backbone or the
            RoI pooler is not registered.
    """
    backbone = config.backbone
    BACKBONES.find(backbone.name)
    POOLERS.find(config.roi_align.method)
    if config.train.init_weights:
        weights_file(config.train.init_weights)
        return
    frozen = _frozen_fields(config)
    if frozen:
        raise ValueError(
            "Frozen parts keep their initial weights, so these weights must not be random. "
            f"Received: {', '.join(frozen)}, backbone.weights={backbone.weights!r}, train.init_weights=None. "
            "Set `backbone.weights=imagenet` for a frozen backbone, or `train.init_weights` to a whole "
            "detector (a file, or a name of `mask-rcnn models list`). To begin with random weights, set "
            "`backbone.frozen_stages=0` and every `norm` to group_norm."
        )
    if backbone.weights is None:
        return
    if backbone.norm in ("group_norm", "none"):
        raise ValueError(
            "Published backbone weights need batch normalization layers. "
            f"Received: backbone.norm={backbone.norm!r}, backbone.weights={backbone.weights!r}. "
            "Set `backbone.weights=null` and `backbone.frozen_stages=0` to begin with random weights, or "
            "`backbone.norm=frozen_batch_norm`."
        )
    if backbone.name not in IMAGENET:
        return  # the library of this backbone loads the weights itself
    path = checkpoint_file(_published_name(backbone.name, backbone.weights))
    if not path.is_file():
        raise FileNotFoundError(
            "`backbone.weights` must be imagenet, a file, or a name of `mask-rcnn models list`. "
            f"Received: {backbone.weights!r}, which is none of them. Check the path."
        )


def _frozen_fields(config: Config) -> list[str]:
    """Returns "field=value" for each frozen part that gets no weights from `backbone.weights`."""
    normalized: dict[str, Any] = {"fpn": config.fpn, "box_head": config.box_head}
    normalized |= {head.part: head.settings for head in heads_of(config)}
    if config.backbone.weights is None:
        normalized = {"backbone": config.backbone, **normalized}
    fields = [
        f"{name}.norm={part.norm!r}"
        for name, part in normalized.items()
        if getattr(part, "norm", None) == "frozen_batch_norm"
    ]
    if config.backbone.weights is None and config.backbone.frozen_stages:
        fields.insert(0, f"backbone.frozen_stages={config.backbone.frozen_stages}")
    return fields


def _published_name(backbone: str, weights: str) -> str:
    """Returns `backbone.weights` with "imagenet" replaced by the name of its published weights."""
    return IMAGENET[backbone] if weights == "imagenet" else weights


def initialize(parts: Parts, config: Config, categories: Sequence[Category]) -> None:
    """Loads the initial weights that the config names into the networks of a new run.

    Args:
        parts: `Parts` of the detector.
        config: `Config`.
        categories: Tuple of `Category` of the data.
    """
    if config.train.init_weights:
        load_detector(parts, config, categories, weights=config.train.init_weights)
    elif config.backbone.weights:
        _load_backbones(parts, config)


def _load_backbones(parts: Parts, config: Config) -> None:
    """Loads pretrained weights into the backbone and into the separate backbone of the RPN, if any."""
    if config.backbone.name in IMAGENET:
        weights = warn_of_backbone(config)
        load_backbone(parts.backbone, config.backbone.name, weights, roi_stage=parts.roi_stage)
    else:
        _load_from_library(parts.source, config.backbone)
    if parts.rpn_backbone is not None:
        parts.rpn_backbone.set_weights(parts.backbone.get_weights())


def _load_from_library(source: Backbone, backbone: BackboneConfig) -> None:
    if source.load is None or backbone.weights is None:
        raise ValueError(
            f"The backbone {backbone.name!r} has no published weights to load. "
            f"Received: backbone.weights={backbone.weights!r}. Set `backbone.weights=null`, or "
            "`train.init_weights` to a whole detector."
        )
    source.load(backbone.weights)
    print_line(f"Loaded the weights {backbone.weights} of {backbone.name}.")


def warn_of_backbone(config: Config) -> str:
    """Logs how the conventions of the backbone weights differ from the config; returns their name."""
    backbone = config.backbone
    if backbone.weights is None:
        raise ValueError("Expected weights for the backbone. Received: backbone.weights=None. Set it.")
    weights = _published_name(backbone.name, backbone.weights)
    if weights in ENTRIES:
        _warn_of_conventions(config, find(weights).config, weights=weights, fields=BACKBONE_CONVENTIONS)
    return weights


def load_detector(
    parts: Parts, config: Config, categories: Sequence[Category], *, weights: str | Path
) -> None:
    """Loads the weights of another detector for all layers with the same meaning, and prints what stays new.

    With the same class names all weights are loaded. Otherwise the layers with one output per class keep
    their weights, and so does a head that the other detector does not have. If only this detector has
    separate features for the RPN, they begin as copies of the other detector's shared features.

    Args:
        parts: `Parts` of the detector.
        config: `Config` that `parts` was built from.
        categories: Tuple of `Category` of the data.
        weights: Path of a weights file, or a name of `mask-rcnn models list`.

    Raises:
        ValueError: Names or shapes of other layers differ. The message lists both sides.
    """
    path = weights_file(weights)
    source_config, source_categories = read_header(path)
    _warn_of_conventions(config, source_config, weights=weights)
    targets = variables(parts)
    arrays = inflated_arrays(read_arrays(path), targets)
    arrays |= _rpn_features(targets, arrays)
    new = _layers_of_classes(
        config, categories, source_config=source_config, source_categories=source_categories
    )
    new |= _parts_of(targets) - _parts_of(arrays)
    unused = _parts_of(arrays) - _parts_of(targets)
    if "rpn_backbone" in unused:
        new |= {"rpn_head"}  # its weights belong to the features that are left out
    assign_variables(_without(targets, new), _without(arrays, new | unused), source=path)
    loaded = "all weights" if not new else f"all weights but those of {', '.join(sorted(new))}"
    print_line(
        f"Loaded {weights}, {len(source_categories)} classes: {loaded}."
        + (f" These are new, for {len(categories)} classes." if new else "")
        + (f" Left out: {', '.join(sorted(unused))}." if unused else "")
    )


def _rpn_features(
    targets: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns copies of the shared features of another detector, for a detector with separate RPN features.

    Args:
        targets: `{"part/variable path": keras.Variable}` of this detector.
        arrays: `{"part/variable path": array}` of the other detector.

    Returns:
        `{"rpn_part/variable path": array}`. Empty if both detectors or neither of them have separate RPN
        features.
    """
    source_parts = _parts_of(arrays)
    available = {f"rpn_{part}" for part in ("backbone", "fpn") if part in source_parts}
    copied = available & (_parts_of(targets) - source_parts)
    if copied:
        print_line(
            f"The RPN starts from copies of the weights of the shared features: {', '.join(sorted(copied))}."
        )
    return {
        f"rpn_{name}": array for name, array in arrays.items() if f"rpn_{name.partition('/')[0]}" in copied
    }


def _layers_of_classes(
    config: Config,
    categories: Sequence[Category],
    *,
    source_config: Config,
    source_categories: Sequence[Category],
) -> set[str]:
    """Returns the names of the layers whose outputs have another meaning in the source of the weights.

    These are the layers with one output per class or keypoint, if the two detectors have different classes or
    keypoints.
    """
    layers: set[str] = set()
    same_classes = [each.name for each in categories] == [each.name for each in source_categories]
    if not same_classes:
        layers |= {"box_head/class_logits"}
        layers |= set() if config.box_head.class_agnostic else {"box_head/deltas"}
    source_heads = {head.name: head for head in heads_of(source_config)}
    for head in heads_of(config):
        layers |= head.class_layers(source_heads.get(head.name), same_classes)
    stages = len(config.cascade.positive_ious) if config.cascade else 1
    for layer in [layer for layer in layers if layer.startswith("box_head/")]:
        layers |= {layer.replace("box_head", f"box_head{stage}") for stage in range(2, stages + 1)}
    return layers


def _parts_of(arrays: Iterable[str]) -> set[str]:
    """Returns the parts in names such as "part/variable path"."""
    return {name.partition("/")[0] for name in arrays}


def _without(arrays: Mapping[str, T], prefixes: Iterable[str]) -> dict[str, T]:
    """Returns the entries of a dict whose names do not begin with a prefix, each "part" or "part/layer"."""
    pattern = re.compile("|".join(f"{re.escape(prefix)}/" for prefix in prefixes) or "$")
    return {name: array for name, array in arrays.items() if not pattern.match(name)}


def _warn_of_conventions(
    config: Config, source_config: Config, *, weights: str | Path, fields: Sequence[str] = CONVENTIONS
) -> None:
    """Logs which of `fields` differ between a config and the config of its initial weights."""
    values = {name: _compared_values(config, source_config, name) for name in fields}
    changed = [
        f"{name}={value!r}, the weights had {source_value!r}"
        for name, (value, source_value) in values.items()
        if not _are_equal(value, source_value)
    ]
    if changed:
        logging.warning("%s was trained with other conventions: %s.", weights, "; ".join(changed))


def _compared_values(config: Config, source_config: Config, name: str) -> tuple[Any, Any]:
    """Returns the values of a field of two configs that should be equal.

    If a config has more input channels than its weights, mean and std of the first channels are compared. If
    it has fewer, they are not compared: for example, the gray channel of the config has no counterpart in RGB
    weights.
    """
    value, source_value = _field(config, name), _field(source_config, name)
    if name in ("input.mean", "input.std") and config.input.channels != source_config.input.channels:
        has_more = value and config.input.channels > source_config.input.channels
        return (value[: len(source_value or ())], source_value) if has_more else (None, None)
    return value, source_value


def _are_equal(value: Any, other: Any) -> bool:
    """Returns whether two values of a field are equal; tuples up to the float32 rounding of detectron2."""
    if isinstance(value, tuple) and isinstance(other, tuple) and len(value) == len(other):
        return bool(np.allclose(value, other, rtol=1e-6))
    return value == other


def _field(config: Config, path: str) -> Any:
    return functools.reduce(getattr, path.split("."), config)
