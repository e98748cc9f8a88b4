"""Numbers, ids and flags as json files of other tools have them: as numbers, as text, as null.

None means that a value is missing or null; `UNCLEAR` means that its meaning is unclear.
"""

import math
import re

UNCLEAR = object()

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MAX_EXACT = 2**53  # larger floats are not exact, so none of them is an id
FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": None}


def number(value):
    """Returns a finite number as it is, text as the number that it writes, null as None, else `UNCLEAR`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and len(value) < 60 and NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNCLEAR
    return value if abs(value) < MAX_EXACT else UNCLEAR  # NaN compares as False


def whole_number(value):
    """Returns `number(value)` as an int, `UNCLEAR` if it has a fraction."""
    if type(value) is int and abs(value) < MAX_EXACT:  # as nearly all are: fast
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    value = number(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else UNCLEAR
    return value


def identity(value):
    """Returns an id: a whole number, other text as it is (UUIDs are ids too), None, or `UNCLEAR`."""
    key = whole_number(value)
    return value if key is UNCLEAR and isinstance(value, str) else key


def flag(value):
    """Returns `iscrowd` as 0 or 1, None if it is missing or null, else `UNCLEAR`."""
    if value is None:
        return None
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower(), UNCLEAR)
    return int(value) if isinstance(value, int | float) and value in (0, 1) else UNCLEAR


def are_numbers(values):
    """Tells whether a list holds finite ints and floats only; fast, for the lists of a whole data set."""
    if not set(map(type, values)) <= {int, float}:
        return False
    try:
        return math.isfinite(math.fsum(values)) and max(map(abs, values), default=0) < MAX_EXACT
    except (OverflowError, ValueError):  # huge integers; infinities of both signs
        return False


def numbers(values):
    """Returns a list with each value as `number` has it; None or `UNCLEAR` as a whole if any is."""
    found = list(map(number, values))
    return next((each for each in found if each is None or each is UNCLEAR), found)
