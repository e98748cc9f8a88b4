"""Collects repairs and refusals of a reader, and reports one line per kind with a count and examples."""

from collections.abc import Sequence
from typing import Any

MAX_EXAMPLES = 10  # examples of each kind in a line
MAX_LISTED = 20  # lines of an error or a report


class RefusedContent(ValueError):
    """An error about entries of a file whose meaning is unclear.

    Attributes:
        refusals: `{kind: [count, first examples]}`, as in `Findings`.
    """

    def __init__(self, message: str, refusals: dict[str, list[Any]]):
        super().__init__(message)
        self.refusals = refusals


class Findings:
    """Collects the problems of a file, so that all of them are reported at once.

    Attributes:
        repairs: {kind: [count, first examples]}. A kind is a sentence about the problem and its repair.
        refusals: {kind: [count, first examples]} of entries that cannot be accepted. A kind is a sentence
            about what was expected.
    """

    def __init__(self):
        self.repairs: dict[str, list[Any]] = {}
        self.refusals: dict[str, list[Any]] = {}

    def repair(self, kind: str, where: str) -> None:
        """Adds a repair: something that was changed, guessed or left out.

        Args:
            kind: Sentence about the problem and its repair.
            where: Place in the file, such as "annotation 7".
        """
        _add(self.repairs, kind, where)

    def refuse(self, kind: str, where: str) -> None:
        """Adds a refusal: an entry with an unclear meaning, which `check` raises as an error.

        Args:
            kind: Sentence about what was expected.
            where: Place in the file and what it holds.
        """
        _add(self.refusals, kind, where)

    def lines(self) -> list[str]:
        """Returns a list with one line per kind of repair."""
        return list(map(_line, self.repairs.items()))

    def check(self, expected: str, source: str) -> None:
        """Raises a `RefusedContent` (a ValueError) that lists all refusals, if there are any.

        Args:
            expected: What the file should be, such as "a COCO json".
            source: Name of the file.
        """
        if self.refusals:
            listing = "\n  ".join(map(_line, self.refusals.items()))
            raise RefusedContent(
                f"Expected {expected} whose meaning is clear. Received: {source}, in which\n  {listing}\n"
                "Correct or remove these entries.",
                self.refusals,
            )


def shown(value: object) -> str:
    """Returns a value of a file as short printable text; nested values are only summarized."""
    if isinstance(value, str | bool | float | type(None)):
        return ascii(value[:60] if isinstance(value, str) else value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "an integer of more than 30 digits"
    if isinstance(value, dict):
        return f"an object with {', '.join(ascii(str(key)[:20]) for key in list(value)[:8]) or 'no keys'}"
    if not isinstance(value, list):
        return f"a {type(value).__name__}"
    if any(isinstance(each, list | dict) for each in value[:6]):
        return f"a list of {len(value)}"
    return f"[{', '.join(map(shown, value[:6]))}{', ...' if len(value) > 6 else ''}]"


def listed(lines: Sequence[str]) -> list[str]:
    """Returns the first lines of a long list, and a line with the number of further lines."""
    return [
        *lines[:MAX_LISTED],
        *([f"... and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []),
    ]


def _add(kinds, kind, where):
    entry = kinds.setdefault(kind, [0, []])
    entry[0] += 1
    if len(entry[1]) < MAX_EXAMPLES:
        entry[1].append(where)


def _line(item):
    kind, (count, examples) = item
    more = ", ..." if count > len(examples) else ""
    return f"{kind} ({count}: {', '.join(map(str, examples))}{more})"
