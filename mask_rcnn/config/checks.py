"""Checks of config fields, with messages that show the received values, and the types of allowed values."""

from dataclasses import dataclass


def check(condition: object, message: str, **received: object) -> None:
    """Raises a ValueError unless a condition is true.

    Args:
        condition: Value that is true or false in an `if` statement.
        message: What is expected, a sentence.
        received: Values that the error shows after the message, by name.
    """
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{message} Received: {values}.")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises a ValueError unless `value`, the field or argument `name`, is one of `choices`."""
    check(value in choices, f"`{name}` must be one of {', '.join(map(repr, choices))}.", **{name: value})


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included. If `is_open`, `low` is excluded."""

    low: float
    high: float
    is_open: bool = False

    def __contains__(self, value: float) -> bool:
        is_above = value > self.low if self.is_open else value >= self.low
        return is_above and value <= self.high  # False for NaN

    def __str__(self) -> str:
        return (
            f"{'above' if self.is_open else 'from'} {self.low} {'up ' if self.is_open else ''}to {self.high}"
        )


@dataclass(frozen=True)
class Choice:
    """One of several values, which are strings or bools."""

    values: tuple[str | bool, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Text:
    """A name or a path of 1 to `max_length` printable characters."""

    max_length: int = 4096

    def __contains__(self, value: str) -> bool:
        return 0 < len(value) <= self.max_length and value.isprintable()

    def __str__(self) -> str:
        return f"1 to {self.max_length} printable characters"


@dataclass(frozen=True)
class Items:
    """Tuples of `min_length` to `max_length` items. `item` is the allowed values of each item."""

    item: Range | Choice | Text
    min_length: int = 0
    max_length: int = 64
