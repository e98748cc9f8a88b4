"""Named recipes: functions that return the `Config` of a whole experiment, one file each in `recipes/`."""

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
    """Returns the names of all recipes, for `config` and `mask-rcnn train --config`."""
    return RECIPES


def config(name):
    """Returns the `Config` of the recipe `name`. Raises a ValueError if there is no such recipe.

    >>> config("faster_rcnn_resnet50_fpn").mask_head is None
    True
    """
    return _recipe(name)()


def describe(name):
    """Returns the docstring of the recipe `name`: use, cost and results. The first line is a summary."""
    return inspect.getdoc(_recipe(name))


def _recipe(name):
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"The recipe must be one of {', '.join(RECIPES)}. Received: {name!r}. "
            f"{hint}See `mask-rcnn config list`."
        )
    return getattr(importlib.import_module(f"mask_rcnn.model_zoo.recipes.{name}"), name)
