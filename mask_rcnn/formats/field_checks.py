"""Reads values of annotation files and checks their types. The errors name the file and the key."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mask_rcnn.data.findings import shown
from mask_rcnn.data.json_values import UNCLEAR, are_numbers, flag, number, numbers, whole_number

REQUIRED = object()
TYPE_NAMES = {dict: "an object", list: "a list", str: "text"}


def value_of(entry: object, key: str, expected_type: type, *, where: str, default: Any = REQUIRED) -> Any:
    """Returns `entry[key]` after a check of its type.

    Args:
        entry: Object of a JSON file.
        key: Key of the value.
        expected_type: `dict`, `list` or `str`.
        where: File and object, for the message.
        default: Value to return if the key is missing or null. If it is not given, this is an error.

    Raises:
        ValueError: If `entry` is not a dict, or the value is missing or has another type.
    """
    fields = checked_value(entry, dict, where)
    value = fields.get(key)
    if value is None and default is not REQUIRED:
        return default
    if not isinstance(value, expected_type):
        raise _wrong(
            f"`{key}` of {where} to be {TYPE_NAMES[expected_type]}", value if key in fields else "no such key"
        )
    return value


def checked_value(value: object, expected_type: type, where: str) -> Any:
    """Returns `value` if it has the expected type.

    Args:
        value: Value of a JSON file.
        expected_type: `dict`, `list` or `str`.
        where: File and object, for the message.

    Raises:
        ValueError: If the value has another type.
    """
    if not isinstance(value, expected_type):
        raise _wrong(f"{where} to be {TYPE_NAMES[expected_type]}", value)
    return value


def class_name(value: object, where: str) -> str:
    """Returns a class name without outer spaces. Raises a ValueError if it is empty or not printable."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _wrong(f"the class of {where} to be text", value)
    return value.strip()


def number_of(entry: Mapping[str, Any], key: str, where: str, *, default: Any = REQUIRED) -> Any:
    """Returns `entry[key]` as a finite number. It may be stored as text. See `value_of`."""
    return _number(entry, key, where, default=default, read=number, expected="a finite number")


def whole_number_of(entry: Mapping[str, Any], key: str, where: str, *, default: Any = REQUIRED) -> Any:
    """Returns `entry[key]` as an integer. It may be stored as text. See `value_of`."""
    return _number(entry, key, where, default=default, read=whole_number, expected="a whole number")


def _number(entry, key, where, *, default, read, expected):
    value = entry.get(key)
    parsed = read(value)
    if parsed is None and default is not REQUIRED:
        return default
    if parsed is None or parsed is UNCLEAR:
        raise _wrong(f"`{key}` of {where} to be {expected}", value if key in entry else "no such key")
    return parsed


def is_set(value: object) -> bool:
    """Returns whether a flag is set: 1, true, or the text of one of them."""
    return flag(value) == 1


def polygon(value: Any, where: str) -> np.ndarray:
    """Returns the points of a polygon, `[N, 2]` float64, (x, y), N at least 3.

    Args:
        value: List of pairs [x, y].
        where: File and object, for the message.

    Raises:
        ValueError: If there are fewer than 3 points, or they are not pairs of finite numbers.
    """
    corners = points(value, where)
    if len(corners) < 3:
        raise _wrong(f"a polygon of at least three points in {where}", value)
    return corners


def points(value: Any, where: str) -> np.ndarray:
    """Returns points, `[N, 2]` float64, from a list of pairs [x, y]. See `polygon`."""
    flat = None
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        flat = [each for pair in value for each in pair]
        if not are_numbers(flat):  # numbers as text, or no numbers
            flat = numbers(flat)
    if not isinstance(flat, list):
        raise _wrong(f"points [x, y] of finite numbers in {where}", value)
    return np.reshape(np.array(flat, "float64"), (-1, 2))


def _wrong(expected, value):
    received = value if value == "no such key" else shown(value)
    return ValueError(f"Expected {expected}. Received: {received}. Correct the file.")
