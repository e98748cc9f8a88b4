"""Recipes: configs of whole experiments. Each is a folder `model_zoo/NAME` with a config and a card."""

import difflib
from pathlib import Path

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.shipped_files import shipped_folder

# In the order of `mask-rcnn config list` and of the table in model_zoo/README.md.
RECIPES = (
    "mask_rcnn_resnet50_fpn",
    "mask_rcnn_resnet50_fpn_1x",
    "mask_rcnn_resnet50_fpn_3x",
    "mask_rcnn_resnet50_fpn_lsj",
    "mask_rcnn_resnet50_fpn_copy_paste",
    "mask_rcnn_resnet50_fpn_scratch",
    "mask_rcnn_resnet101_fpn",
    "faster_rcnn_resnet50_fpn",
    "mask_rcnn_lite0_fpn",
    "keypoint_rcnn_resnet50_fpn",
    "keypoint_rcnn_lite0_fpn",
    "shapes",
    "fine_tune",
    "nuclei",
)


def names() -> tuple[str, ...]:
    """Returns the names of all recipes, for `config` and `mask-rcnn train --config`."""
    return RECIPES


def config(name: str) -> Config:
    """Returns the `Config` of the recipe `name`. Raises a ValueError if there is no such recipe.

    >>> config("faster_rcnn_resnet50_fpn").mask_head is None
    True
    """
    return config_io.from_yaml(folder(name) / "config.yaml")


def describe(name: str) -> str:
    """Returns the card of the recipe `name`, as Markdown without its title. The first line is a summary."""
    _, _, text = (folder(name) / "README.md").read_text(encoding="utf-8").partition("\n\n")
    return text


def folder(name: str) -> Path:
    """Returns the `Path` of the folder of the recipe `name`, with config.yaml and README.md."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"The recipe must be one of {', '.join(RECIPES)}. Received: {name!r}. "
            f"{hint}See `mask-rcnn config list`."
        )
    return shipped_folder("model_zoo") / name
