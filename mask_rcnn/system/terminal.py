"""Safe terminal output: names from files may contain escape sequences, which are escaped before printing."""

import sys
import unicodedata
from typing import TextIO

# Line and paragraph separators, control characters and lone surrogates of undecodable file names.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# These change the direction of the text after them, so a name could be displayed as another one.
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object, allowed: str = "\n\t") -> str:
    r"""Returns `text` with control characters, line separators, lone surrogates and direction marks escaped.

    A terminal would execute such characters instead of displaying them.

    Args:
        text: String, or any object that `str` converts.
        allowed: String of control characters that are not escaped. Defaults to newline and tab.

    >>> printable("a\x1b[31m.jpg")
    'a\\x1b[31m.jpg'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c in allowed or not _is_unprintable(c) else _escape(c) for c in text)


def print_line(text: object = "", file: TextIO | None = None) -> None:
    """Prints a line after escaping. All commands use this function for output.

    Characters that the encoding of the stream does not have are escaped, too.

    Args:
        text: The line. Defaults to an empty line.
        file: Text stream. Defaults to None, standard output.
    """
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def _is_unprintable(character):
    return unicodedata.category(character) in UNPRINTABLE or character in DIRECTION_MARKS


def _escape(character):
    return character.encode("unicode_escape").decode("ascii")
