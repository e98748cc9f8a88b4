"""Checks of the categories that a weights file contains."""

import collections
import json
from collections.abc import Sequence

from mask_rcnn.structures import Category

CATEGORY_FIELDS = {"id", "name", "keypoints", "skeleton"}
MAX_NAME = 1000  # characters
MAX_ID = 2**53  # the largest integer that every JSON reader represents exactly


def parse_categories(text: str) -> tuple[Category, ...]:
    """Returns the categories of a weights file.

    Args:
        text: JSON list of mappings with the fields of `Category`.

    Raises:
        ValueError: If the text has another content.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Its categories are not valid JSON ({str(error)[:100]}). Save the weights again."
        ) from None
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if not is_list or any(set(entry) != CATEGORY_FIELDS for entry in entries):
        raise ValueError(
            f"Its categories must be a list of mappings with {', '.join(sorted(CATEGORY_FIELDS))}. "
            "Save the weights again."
        )
    for entry in entries:
        if not (_is_list_of(entry["keypoints"], str) and _is_list_of(entry["skeleton"], list)):
            raise ValueError("Its keypoints must be lists of names, and its skeletons lists of number pairs.")
    return tuple(Category(**entry) for entry in entries)


def check_categories(categories: Sequence[Category], num_classes: int) -> None:
    """Raises a ValueError unless there is exactly one valid category per class.

    Args:
        categories: Tuple of `Category`.
        num_classes: Number of classes of the model.
    """
    if len(categories) != num_classes:
        raise ValueError(
            "A model needs one category for each of its classes. "
            f"Received: {len(categories)} categories, num_classes={num_classes}."
        )
    for category in categories:
        _check_category(category)
    for field in ("id", "name"):
        counts = collections.Counter(getattr(category, field) for category in categories)
        repeated = [value for value, count in counts.items() if count > 1][:5]
        if repeated:
            raise ValueError(f"Each category needs a unique {field}. Received more than once: {repeated}.")


def _check_category(category):
    if type(category.id) is not int or abs(category.id) > MAX_ID:
        raise ValueError(f"A category id must be an integer up to 2**53. Received: {_short(category.id)}.")
    if not _is_name(category.name):
        raise ValueError(
            f"The name of a category must have 1 to {MAX_NAME} characters. Received: {_short(category.name)}."
        )
    if not all(map(_is_name, category.keypoints)):
        raise ValueError(f"Every keypoint must have a name. Received: category {category.name!r} without.")
    numbers = range(1, len(category.keypoints) + 1)
    for pair in category.skeleton:
        if len(pair) != 2 or not all(type(number) is int and number in numbers for number in pair):
            raise ValueError(
                f"A skeleton must contain pairs of keypoint numbers, 1 to {len(category.keypoints)}. "
                f"Received: category {category.name!r} with other items."
            )


def _is_list_of(value, item_type):
    return isinstance(value, list) and all(isinstance(item, item_type) for item in value)


def _is_name(value):
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _short(value):
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"
