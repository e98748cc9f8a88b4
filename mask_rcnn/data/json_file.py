"""Reads json files; errors say in one line why a file cannot be read."""

import json
from pathlib import Path
from typing import Any

from mask_rcnn.system.paths import RemotePath, as_path


def read_json(path: str | Path | RemotePath, expected: str) -> tuple[Any, list[str]]:
    """Reads a json file in UTF-8, UTF-16 or UTF-32. Other text is read as Latin-1 and noted.

    Args:
        path: Path of the file.
        expected: What the file should be, such as "a COCO json", for error messages.

    Returns:
        content: The parsed content.
        notes: List of sentences about a guessed encoding.

    Raises:
        OSError: The file does not exist or cannot be opened.
        ValueError: The file is not json, is nested too deeply, or an object repeats a key with another value.
    """
    return parse_json(read_bytes(path, expected), path, expected)


def parse_json(data: bytes, path: str | Path | RemotePath, expected: str) -> tuple[Any, list[str]]:
    """Parses the bytes of a json file.

    Args:
        data: Bytes of the file.
        path: Path of the file, for error messages.
        expected: What the file should be, for error messages.

    Returns:
        content, notes: As in `read_json`.

    Raises:
        ValueError: As in `read_json`.
    """
    text, notes = _decode(data, path, expected)
    repeated = {}  # a dict as an ordered set
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, repeated))
    except RecursionError as error:
        raise _unreadable(
            path, expected, reason="which is nested too deeply", advice="Flatten it."
        ) from error
    except ValueError as error:
        at_end = getattr(error, "pos", -1) >= len(text.rstrip()) - 1
        advice = "The file ends too early: copy it again." if at_end else "Correct or convert the file."
        reason = f"which is not json ({error})"
        raise _unreadable(path, expected, reason=reason, advice=advice) from error
    if repeated:
        keys = ", ".join(ascii(key[:40]) for key in list(repeated)[:5])
        reason = f"in which an object has the same key twice with different values: {keys}"
        raise _unreadable(path, expected, reason=reason, advice="Remove one of each.")
    return content, notes


def read_bytes(path: str | Path | RemotePath, expected: str) -> bytes:
    """Returns the bytes of a file that is not empty.

    Args:
        path: Path of the file.
        expected: What the file should be, for error messages.

    Raises:
        OSError: The file does not exist or cannot be opened.
        ValueError: The file is empty.
    """
    path = as_path(path)
    if not path.is_file():
        kind = "which is a folder" if path.is_dir() else "which is not a file"
        kind = kind if path.exists() else "which does not exist"
        error = IsADirectoryError if path.is_dir() else FileNotFoundError
        raise error(f"Expected {expected}. Received: {str(path)!r}, {kind}. Check the path.")
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"which cannot be read ({error.strerror})"
        raise OSError(
            f"Expected {expected}. Received: {str(path)!r}, {reason}. Check its permissions."
        ) from error
    if not data.strip(b"\0 \t\r\n"):
        raise _unreadable(path, expected, reason="which is empty", advice="Copy or write the file again.")
    return data


def _decode(data, path, expected):
    try:
        return data.decode(json.detect_encoding(data)), []
    except UnicodeDecodeError as error:
        if b"\0" in data:  # text has no zero bytes, so the file is of another kind or damaged
            reason = f"which is not text ({error.reason} at byte {error.start})"
            raise _unreadable(path, expected, reason=reason, advice="Copy the file again.") from error
        note = f"{path} is not in UTF-8 (byte {error.start}): it is read as Latin-1; check names with accents"
        return data.decode("latin-1"), [note]


def _object(pairs, repeated):
    content = dict(pairs)
    if len(content) != len(pairs):
        repeated |= {key: None for key, value in pairs if content[key] != value}
    return content


def _unreadable(path, expected, *, reason, advice):
    return ValueError(f"Expected {expected}. Received: {str(path)!r}, {reason}. {advice}")
