"""Checks of config fields, with messages that show the received values, and the types of allowed values."""

from dataclasses import dataclass


def check(condition, message, **received):
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{message} Received: {values}.")


def check_choice(name, value, choices):
    check(value in choices, f"`{name}` must be one of {', '.join(map(repr, choices))}.", **{name: value})


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included. If `is_open`, `low` is excluded."""

    low: float
    high: float
    is_open: bool = False

    def __contains__(self, value):
        above = value > self.low if self.is_open else value >= self.low
        return above and value <= self.high  # False for NaN

    def __str__(self):
        return (
            f"{'above' if self.is_open else 'from'} {self.low} {'up ' if self.is_open else ''}to {self.high}"
        )


@dataclass(frozen=True)
class Items:
    """Tuples of `least` to `most` items, each of them in `each`."""

    each: object
    least: int = 0
    most: int = 64


@dataclass(frozen=True)
class Choice:
    """One of several values, which are strings or bools."""

    texts: tuple[str, ...]

    def __contains__(self, value):
        return value in self.texts

    def __str__(self):
        return f"one of {', '.join(map(repr, self.texts))}"


@dataclass(frozen=True)
class Text:
    """A name or a path of 1 to `longest` printable characters."""

    longest: int = 4096

    def __contains__(self, value):
        return 0 < len(value) <= self.longest and value.isprintable()

    def __str__(self):
        return f"1 to {self.longest} printable characters"
