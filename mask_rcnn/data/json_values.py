"""Reads numbers, ids and flags of json files, which other tools write as numbers, text or null.

None means that a value is missing or null. `UNCLEAR` means that a value cannot be interpreted.
"""

import enum
import math
import re
from collections.abc import Iterable
from typing import Final, TypeGuard


class Unclear(enum.Enum):
    """The type of `UNCLEAR`."""

    UNCLEAR = "unclear"


UNCLEAR: Final = Unclear.UNCLEAR

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MAX_EXACT = 2**53  # larger whole numbers are not exact as floats, so they cannot be ids
FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": None}


def number(value: object) -> float | None | Unclear:
    """Returns a finite number: text is converted, null and empty text give None, all else `UNCLEAR`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and len(value) < 60 and NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNCLEAR
    return value if abs(value) < MAX_EXACT else UNCLEAR  # the comparison is False for NaN


def whole_number(value: object) -> int | None | Unclear:
    """Returns `number(value)` as an int, or `UNCLEAR` if it has a fraction."""
    if type(value) is int and abs(value) < MAX_EXACT:  # fast path for nearly all values
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    value = number(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else UNCLEAR
    return value


def identity(value: object) -> int | str | None | Unclear:
    """Returns an id: a whole number, other text unchanged (ids can be UUIDs), None, or `UNCLEAR`."""
    key = whole_number(value)
    return value if key is UNCLEAR and isinstance(value, str) else key


def flag(value: object) -> int | None | Unclear:
    """Returns `iscrowd` as 0 or 1, None if it is missing or null, else `UNCLEAR`."""
    if value is None:
        return None
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower(), UNCLEAR)
    return int(value) if isinstance(value, int | float) and value in (0, 1) else UNCLEAR


def are_numbers(values: list) -> TypeGuard[list[float]]:
    """Returns whether a list holds only finite ints and floats. It is fast enough for whole data sets."""
    if not set(map(type, values)) <= {int, float}:
        return False
    try:
        return math.isfinite(math.fsum(values)) and max(map(abs, values), default=0) < MAX_EXACT
    except (OverflowError, ValueError):  # huge integers; infinities of both signs
        return False


def numbers(values: Iterable[object]) -> list[float] | None | Unclear:
    """Returns `number` of each value as a list, or the first result that is None or `UNCLEAR`."""
    converted = []
    for value in values:
        result = number(value)
        if result is None or result is UNCLEAR:
            return result
        converted.append(result)
    return converted
