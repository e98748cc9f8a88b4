"""Functions of all conversions: class names and ids, optional packages, and the size of the image."""

import importlib
from collections.abc import Sequence
from types import ModuleType

from mask_rcnn.structures import Category, as_categories


def import_package(name: str) -> ModuleType:
    """Imports and returns an optional package.

    Args:
        name: Name of the module, which is also the name of the pip package and of the extra.

    Raises:
        ImportError: If the package is not installed. The message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This conversion needs the package {name} ({error}). Run `pip install 'mask-rcnn[{name}]'`."
        ) from error


def class_names(class_ids: Sequence[int], categories: Sequence[Category | str]) -> list[str]:
    """Returns the name of each class id, a list of N str.

    Args:
        class_ids: `[N]` int, 1..K.
        categories: The K `Category` records, or names.

    Raises:
        ValueError: If a class id is larger than K.
    """
    names = [category.name for category in as_categories(categories, len(categories))]
    if len(class_ids) and max(class_ids) > len(names):
        raise ValueError(
            f"Class ids must not exceed the number of categories, {len(names)}. "
            f"Received: class_ids up to {max(class_ids)}. Give the categories of the model."
        )
    return [names[class_id - 1] for class_id in class_ids]


def class_ids_of(names: Sequence[str], categories: Sequence[Category | str]) -> list[int]:
    """Returns the class id of each name, a list of N int, 1..K. The inverse of `class_names`.

    Args:
        names: N names.
        categories: The K `Category` records, or names.

    Raises:
        ValueError: If a name is not one of the categories.
    """
    known = [category.name for category in as_categories(categories, len(categories))]
    unknown = sorted(set(map(str, names)) - set(known))
    if unknown:
        raise ValueError(
            f"Names of classes must be those of the categories: {', '.join(known[:50])}. "
            f"Received: {', '.join(unknown[:10])}. Add them to `categories`, or rename them."
        )
    return [known.index(name) + 1 for name in names]


def resolve_image_size(
    requested: Sequence[int] | None, stored: Sequence[int] | None, description: str
) -> tuple[int, int]:
    """Returns the (height, width) of the image, from the caller or from the data.

    Args:
        requested: (height, width) from the caller, or None.
        stored: (height, width) in the data, or None.
        description: Description of the data for the error messages, such as "the frame".

    Raises:
        ValueError: If both are None, or if they differ.
    """
    size = stored if requested is None else requested
    if size is None:
        raise ValueError(
            f"The size of the image is needed, which {description} does not have. Received: image_size=None. "
            "Give `image_size=(height, width)`."
        )
    if requested is not None and stored is not None and tuple(requested) != tuple(stored):
        raise ValueError(
            f"`image_size` must be the (height, width) of {description}, {tuple(stored)}. "
            f"Received: image_size={tuple(requested)}. Omit it."
        )
    height, width = size
    return int(height), int(width)
