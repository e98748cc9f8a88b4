"""Record of a model that others have published: its conventions and the conversion of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.model_zoo.convert import Row
from mask_rcnn.structures import Category


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published model: its conventions as a `Config`, and how to convert its weights.

    Args:
        config: Function without arguments that returns the `Config`.
        table: Rows for the names of its state dict, see `model_zoo.convert.convert`.
        ignored: Patterns of names without a counterpart. Defaults to none.
        preprocess_state_dict: Function of its state dict, `{name: array}`, that is applied before the table.
            Defaults to `dict`, which returns a copy.
        categories: Tuple of `Category`. Class id i is `categories[i - 1]`. The ids are those of its data set.
    """

    config: Callable[[], Config]
    table: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    preprocess_state_dict: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    categories: tuple[Category, ...]
