"""What is known of a model that someone else has published, apart from where its weights are."""

from collections.abc import Callable
from dataclasses import dataclass

from mask_rcnn.config import Config
from mask_rcnn.structures import Category


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published model: its conventions as a `Config`, and how its weights become ours.

    Args:
        config: function without arguments that returns the `Config`.
        table: rows of `model_zoo.convert.convert`, for the names of its state dict.
        ignored: patterns of names without a counterpart.
        prepare: what is done to its state dict, `{name: array}`, before the table is applied.
        categories: class id i is `categories[i - 1]`, with the ids of its data set.
    """

    config: Callable[[], Config]
    table: tuple
    ignored: tuple[str, ...] = ()
    prepare: Callable[[dict], dict] = dict
    categories: tuple[Category, ...]
