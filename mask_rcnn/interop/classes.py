"""Shared by the conversions: class names, optional packages, and the size of the image."""

import importlib

from mask_rcnn.structures import as_categories


def import_package(name):
    """Imports and returns an optional package.

    Args:
        name: Name of the module, which is also the name of the pip package and of the extra.

    Raises:
        ImportError: The package is not installed. The message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This conversion needs the package {name} ({error}). Run `pip install 'mask-rcnn[{name}]'`."
        ) from error


def class_names(class_ids, categories):
    """Returns the name of each class id, a list of N str.

    Args:
        class_ids: `[N]` int, 1..K.
        categories: The K `Category` records, or names.

    Raises:
        ValueError: A class id is larger than K.
    """
    names = [category.name for category in as_categories(categories, len(categories))]
    if len(class_ids) and max(class_ids) > len(names):
        raise ValueError(
            f"Class ids must not exceed the number of categories, {len(names)}. "
            f"Received: class_ids up to {max(class_ids)}. Give the categories of the model."
        )
    return [names[class_id - 1] for class_id in class_ids]


def class_ids_of(names, categories):
    """Returns the class id of each name, a list of N int, 1..K. The inverse of `class_names`.

    Args:
        names: N names.
        categories: The K `Category` records, or names.

    Raises:
        ValueError: A name is not one of the categories.
    """
    known = [category.name for category in as_categories(categories, len(categories))]
    unknown = sorted(set(map(str, names)) - set(known))
    if unknown:
        raise ValueError(
            f"Names of classes must be those of the categories: {', '.join(known[:50])}. "
            f"Received: {', '.join(unknown[:10])}. Add them to `categories`, or rename them."
        )
    return [known.index(name) + 1 for name in names]


def resolve_image_size(given, found, what):
    """Returns (height, width) of the image: the given one, or the one in the data.

    Args:
        given: (height, width) from the caller, or None.
        found: (height, width) in the data, or None.
        what: Name of the data, for the error messages.

    Raises:
        ValueError: Both are None, or they differ.
    """
    if given is None and found is None:
        raise ValueError(
            f"The size of the image is needed, which {what} does not have. Received: image_size=None. "
            "Give `image_size=(height, width)`."
        )
    if given is not None and found is not None and tuple(given) != tuple(found):
        raise ValueError(
            f"`image_size` must be the (height, width) of {what}, {tuple(found)}. "
            f"Received: image_size={tuple(given)}. Leave it out."
        )
    return tuple(map(int, found if given is None else given))
