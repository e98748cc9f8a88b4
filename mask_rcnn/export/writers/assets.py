"""Text files in every exported model: class names, categories and config."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.structures import Category

LABELS, CONFIG, CATEGORIES = "labels.txt", "config.yaml", "categories.json"


def write_assets(config: Config, categories: Sequence[Category]) -> dict[str, str]:
    """Returns the text files of a model, `{file name: text}`.

    Args:
        config: `Config` of the model.
        categories: Tuple of `Category`. Class i is `categories[i - 1]`.

    Returns:
        Dict of:

        - `labels.txt`: one class name per line, class 1 first.
        - `categories.json`: for each class its number `class`, as in `detection_classes`, and the `id` and
          `name` from the data set.
        - `config.yaml`: the complete config.
    """
    entries = [{"class": i, **vars(category)} for i, category in enumerate(categories, start=1)]
    return {
        LABELS: "".join(f"{category.name}\n" for category in categories),
        CONFIG: config_io.to_yaml(config),
        CATEGORIES: json.dumps(entries, indent=1, ensure_ascii=False) + "\n",
    }


def read_assets(assets: Mapping[str, str], source: Path | str) -> tuple[Config, tuple[Category, ...]]:
    """Returns the `Config` and the tuple of `Category` that `write_assets` wrote.

    Args:
        assets: `{file name: text}`.
        source: Path of the model, for the error messages.

    Raises:
        ValueError: A file is missing, or the categories do not match the number of classes in the config.
    """
    missing = {CONFIG, CATEGORIES} - set(assets)
    if missing:
        raise ValueError(
            f"A model of `mask-rcnn export` carries {CONFIG} and {CATEGORIES}. "
            f"Received: {source}, without {', '.join(sorted(missing))}. Export the weights again."
        )
    entries = sorted(json.loads(assets[CATEGORIES]), key=lambda entry: entry["class"])
    categories = [{name: value for name, value in entry.items() if name != "class"} for entry in entries]
    config = config_io.from_yaml(assets[CONFIG])
    if [entry["class"] for entry in entries] != list(range(1, config.num_classes + 1)):
        raise ValueError(
            f"{CATEGORIES} must have an entry for each class from 1 to {config.num_classes}. "
            f"Received: {source}, with {len(entries)} entries. Export the weights again."
        )
    return config, tuple(Category(**entry) for entry in categories)
