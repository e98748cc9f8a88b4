"""Text for a terminal: names from files may hold escape sequences, which must not reach it."""

import sys
import unicodedata

# Line and paragraph separators, control characters and lone surrogates of undecodable file names.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# They change the direction of the text after them, so that a name reads as another one.
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text, allowed="\n\t"):
    r"""Returns `text` with every character escaped that a terminal would obey instead of showing it.

    Args:
        text: str, or anything that `str` converts.
        allowed: Control characters that stay as they are. Defaults to newline and tab.

    >>> printable("a\x1b[31m.jpg")
    'a\\x1b[31m.jpg'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c in allowed or not _is_unprintable(c) else _escape(c) for c in text)


def say(text="", file=None):
    """Prints a line, made printable, in any encoding of the terminal; all commands print through this.

    Args:
        text: The line.
        file: A text stream. Defaults to standard output.
    """
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def _is_unprintable(character):
    return unicodedata.category(character) in UNPRINTABLE or character in DIRECTION_MARKS


def _escape(character):
    return character.encode("unicode_escape").decode("ascii")
