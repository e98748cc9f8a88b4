"""Table of the conventions in which published systems differ, created from their configs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mask_rcnn.config import Config
from mask_rcnn.model_zoo.registry import find

# One model per convention. The other models of a source differ from these only in the backbone.
MODELS = (
    "torchvision/maskrcnn_resnet50_fpn",
    "torchvision/maskrcnn_resnet50_fpn_v2",
    "detectron2/mask_rcnn_R_50_FPN_3x",
    "detectron2/mask_rcnn_R_50_C4_3x",
    "matterport/mask_rcnn_coco",
)
EXCLUDED_FIELDS = ("train", "data", "backbone.weights")  # fields without effect on trained weights


def table(models: Sequence[str] = MODELS) -> str:
    """Returns a Markdown table of the config fields in which `models` differ from the defaults.

    Args:
        models: Names of published detectors. Defaults to MODELS.

    Returns:
        String with one row per field: its name, our default, and the value of each model where it differs.
    """
    configs = [_fields(find(name).config) for name in models]
    rows = [("field", "default", *models), ("---",) * (len(models) + 2)]
    for name, default in _fields(Config()).items():
        values = [_cell(config.get(name)) for config in configs]
        if set(values) != {_cell(default)}:
            cells = ("" if value == _cell(default) else value for value in values)
            rows.append((f"`{name}`", _cell(default), *cells))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _fields(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the fields of a config as a flat dict `{"rpn.channels": 256, ...}`, without EXCLUDED_FIELDS."""
    flat = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if name in EXCLUDED_FIELDS:
            continue
        if dataclasses.is_dataclass(value):
            flat |= _fields(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _cell(value: object) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, tuple):
        return " ".join(map(_cell, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
