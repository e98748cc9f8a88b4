"""Record of a model that others have published: its conventions and the conversion of its weights."""

from collections.abc import Callable
from dataclasses import dataclass

from mask_rcnn.config import Config
from mask_rcnn.structures import Category


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published model: its conventions as a `Config`, and how to convert its weights.

    Args:
        config: Function without arguments that returns the `Config`.
        table: Rows for the names of its state dict, see `model_zoo.convert.convert`.
        ignored: Patterns of names without a counterpart. Defaults to none.
        prepare: Function of its state dict, `{name: array}`, that is applied before the table. Defaults to no
            change.
        categories: Tuple of `Category`. Class id i is `categories[i - 1]`. The ids are those of its data set.
    """

    config: Callable[[], Config]
    table: tuple
    ignored: tuple[str, ...] = ()
    prepare: Callable[[dict], dict] = dict
    categories: tuple[Category, ...]
