"""Named recipes: one file each in `recipes/`, a function that returns the `Config` of a whole experiment."""

import difflib
import importlib
import inspect

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


def names():
    """Names of the recipes, for `config` and `mask-rcnn train --config`."""
    return RECIPES


def config(name):
    """Returns the `Config` of the recipe `name`.

    >>> config("faster_rcnn_resnet50_fpn").mask_head is None
    True
    """
    return _recipe(name)()


def describe(name):
    """What the recipe `name` is for, costs and reaches: its docstring; the first line is a summary."""
    return inspect.getdoc(_recipe(name))


def _recipe(name):
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"There is a recipe for each of {', '.join(RECIPES)}. Received: {name!r}. "
            f"{hint}See `mask-rcnn config list`."
        )
    return getattr(importlib.import_module(f"mask_rcnn.model_zoo.recipes.{name}"), name)
