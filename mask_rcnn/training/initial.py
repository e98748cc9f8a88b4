"""What a detector is before its first step: random, on an ImageNet backbone, or another detector."""

import dataclasses
import re

from absl import logging

from mask_rcnn.model_zoo.backbones import load_backbone
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.weights import assign_variables, read_arrays, read_header, variables

# Conventions that weights were trained with, and that lower the result, without an error, where they differ.
CONVENTIONS = ("inclusive_boxes", "input", "backbone", "fpn", "anchors", "roi_align")
# Fields of these sections that are a choice of each training.
FREE = (
    "input.short_side",
    "input.train_short_sides",
    "input.long_side",
    "input.padded_size",
    "input.horizontal_flip",
    "input.max_instances",
    "input.mask_crop_size",
    "backbone.frozen_stages",
    "backbone.weights",
)


def initialise(parts, config, categories):
    """Gives the networks of a new run the weights that its config begins with."""
    if config.train.init_weights:
        load_detector(parts, config, categories, config.train.init_weights)
    elif config.backbone.weights:
        load_backbone(parts.backbone, config.backbone.name, config.backbone.weights)


def load_detector(parts, config, categories, weights):
    """Gives a detector the weights of another one, as far as they mean the same; prints what is new.

    With the same class names all weights are taken. Otherwise the layers with an output for each class stay
    as they are, and so does a head that the other detector does not have.

    Args:
        parts: `Parts` of the detector.
        config: the `Config` they were built from.
        categories: tuple of `Category` of the data.
        weights: weights file, or a name of `mask-rcnn models list`.

    Raises:
        ValueError: names or shapes of other layers differ; both sides are listed.
    """
    path = weights_file(weights)
    their_config, their_categories = read_header(path)
    _warn_of_conventions(config, their_config, weights)
    wanted, arrays = variables(parts), read_arrays(path)
    new = _layers_of_classes(config, categories, their_config, their_categories)
    new |= _parts_of(wanted) - _parts_of(arrays)
    unused = new | (_parts_of(arrays) - _parts_of(wanted))
    assign_variables(_without(wanted, new), _without(arrays, unused), source=path)
    kept = "all weights" if not new else f"all weights but those of {', '.join(sorted(new))}"
    print(
        f"Begun with {weights}, {len(their_categories)} classes: {kept}."
        + (f" These are new, for {len(categories)} classes." if new else "")
    )


def _layers_of_classes(config, categories, their_config, their_categories):
    """Returns the names of the layers whose outputs stand for other classes or keypoints in the two."""
    layers = set()
    if [category.name for category in categories] != [category.name for category in their_categories]:
        layers |= {"box_head/class_logits"}
        layers |= set() if config.box_head.class_agnostic else {"box_head/deltas"}
        layers |= (
            {"mask_head/predictor"} if config.mask_head and not config.mask_head.class_agnostic else set()
        )
    heads = config.keypoint_head, their_config.keypoint_head
    if all(heads) and heads[0].names != heads[1].names:
        layers |= {"keypoint_head/deconv"}
    stages = len(config.cascade.positive_ious) if config.cascade else 1
    for layer in [layer for layer in layers if layer.startswith("box_head/")]:
        layers |= {layer.replace("box_head", f"box_head{stage}") for stage in range(2, stages + 1)}
    return layers


def _parts_of(arrays):
    return {name.partition("/")[0] for name in arrays}


def _without(arrays, prefixes):
    """Returns the entries of a dict that are not in one of `prefixes`, each "part" or "part/layer"."""
    pattern = re.compile("|".join(f"{re.escape(prefix)}/" for prefix in prefixes) or "$")
    return {name: array for name, array in arrays.items() if not pattern.match(name)}


def _warn_of_conventions(config, their_config, weights):
    ours, theirs = _flat(config), _flat(their_config)
    changed = [
        f"{name} is {ours.get(name)!r}, theirs {value!r}"
        for name, value in theirs.items()
        if ours.get(name) != value and name not in FREE
    ]
    if changed:
        logging.warning("%s was trained with other conventions: %s.", weights, "; ".join(changed))


def _flat(config):
    """Returns `{"section.field": value}` of the sections that are conventions."""
    flat = {}
    for name in CONVENTIONS:
        section = getattr(config, name)
        fields = dataclasses.asdict(section) if dataclasses.is_dataclass(section) else {"": section}
        flat.update({f"{name}.{field}".rstrip("."): value for field, value in fields.items()})
    return flat
