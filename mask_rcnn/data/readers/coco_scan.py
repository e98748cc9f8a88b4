"""Reads the annotations of a large COCO json into arrays, without a Python object for each of them.

Most annotations are regular: every field has the usual form and needs no repair or report. They are decoded
and checked in blocks. All others are returned as they are, for the functions that check annotations one by
one. A file that this reader cannot split safely is parsed as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mask_rcnn.data import reader_cache
from mask_rcnn.data.annotation_table import AnnotationTable, concatenate, table_of
from mask_rcnn.data.findings import Findings
from mask_rcnn.data.json_file import parse_json, read_bytes
from mask_rcnn.data.readers.coco_blocks import read_block
from mask_rcnn.data.readers.coco_entries import read_images
from mask_rcnn.data.readers.regular_annotations import KnownImages
from mask_rcnn.system.paths import RemotePath

BLOCK = 1024  # annotations that are decoded and checked at a time


class _Split(msgspec.Struct):
    annotations: list[msgspec.Raw]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A json whose annotations are split into regular ones and others.

    Args:
        content: Content of the json, with an empty list `annotations`.
        notes: List of sentences about a guessed text encoding.
        regular_annotations: `AnnotationTable` of the N regular annotations. Its `images` are indices into
            `read_images`.
        positions: `[N]` int64, position of each regular annotation in the list of the json.
        other_annotations: (position, entry) of all other annotations, unchanged.
    """

    content: Any
    notes: list[str]
    regular_annotations: AnnotationTable
    positions: np.ndarray
    other_annotations: list[tuple[int, Any]]


def scan_file(path: str | Path | RemotePath, expected: str) -> Scan:
    """Returns the `Scan` of a json file.

    Args:
        path: Path of the file.
        expected: What the file should be, for error messages.

    Raises:
        OSError, ValueError: As in `read_json`.
    """
    return scan_bytes(read_bytes(path, expected), path, expected)


def scan_bytes(data: bytes, path: str | Path | RemotePath, expected: str) -> Scan:
    """Returns the `Scan` of the bytes of a json.

    Args:
        data: Bytes of the file.
        path: Path of the file, for error messages.
        expected: What the file should be, for error messages.

    Raises:
        ValueError: As in `read_json`.
    """
    key = reader_cache.content_key(data)
    cached = reader_cache.load("annotations", key) if len(data) >= reader_cache.MIN_BYTES else None
    if cached is not None:
        return _unpacked(cached, path, expected)
    result = _split_and_read(data, path, expected)
    if result is None:
        return scan_of(*parse_json(data, path, expected))
    scanned, arrays = result
    if len(data) >= reader_cache.MIN_BYTES:
        reader_cache.save("annotations", key, arrays)
    return scanned


def scan_of(content: Any, notes: Sequence[str] = ()) -> Scan:
    """Returns the `Scan` of parsed content, in which all annotations count as not regular.

    Args:
        content: Content of a json.
        notes: Sentences about a guessed text encoding. Defaults to none.
    """
    annotations = content.get("annotations") if isinstance(content, dict) else None
    others = list(enumerate(annotations)) if isinstance(annotations, list) else []
    return Scan(
        content=content,
        notes=list(notes),
        regular_annotations=table_of([], []),
        positions=np.zeros(0, "int64"),
        other_annotations=others,
    )


def _split_and_read(data, path, expected):
    """Returns the `Scan` of a json and its arrays for the cache, or None if it must be parsed as a whole."""
    try:
        annotations = msgspec.json.decode(data, type=_Split).annotations
        remaining = _without(data, annotations)
        content = _parse_strictly(remaining, path, expected)
        images = KnownImages(
            content["images"], content["categories"], read_images(content["images"], Findings())
        )
        table, positions, others = _read_blocks(annotations, images, path=path, expected=expected)
        texts = b"[" + b",".join(bytes(annotations[position]) for position in others) + b"]"
        arrays = {**vars(table), "positions": positions, "other_positions": np.array(others, "int64")}
        arrays |= {"rest": np.frombuffer(remaining, "uint8"), "others": np.frombuffer(texts, "uint8")}
        return _unpacked(arrays, path, expected), arrays
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # the reader of the whole file reports the error


def _without(data, annotations):
    """Returns the bytes of a json with the entries of its list `annotations` removed."""
    if not annotations:
        return data
    base = np.frombuffer(data, "uint8").ctypes.data
    first, last = (np.frombuffer(annotations[i], "uint8") for i in (0, -1))
    return data[: first.ctypes.data - base] + data[last.ctypes.data + last.size - base :]


def _parse_strictly(data, path, expected):
    content, notes = parse_json(data, path, expected)
    if notes:
        raise ValueError("Expected UTF-8.")
    return content


def _read_blocks(annotations, images, *, path, expected):
    """Returns table and positions of the regular annotations, and the positions of the others."""
    tables, masks = [table_of([], [])], [np.zeros(0, bool)]
    for start in range(0, len(annotations), BLOCK):
        block = annotations[start : start + BLOCK]
        table, mask = read_block(block, images, lambda text: _parse_strictly(text, path, expected))
        tables.append(table)
        masks.append(mask)
    is_regular = np.concatenate(masks)
    return concatenate(tables), np.flatnonzero(is_regular), np.flatnonzero(~is_regular).tolist()


def _unpacked(arrays, path, expected):
    """Returns the `Scan` for arrays from the cache."""
    arrays = dict(arrays)
    content, others = (
        _parse_strictly(arrays.pop(name).tobytes(), path, expected) for name in ("rest", "others")
    )
    other_positions, positions = arrays.pop("other_positions").tolist(), arrays.pop("positions")
    others = list(zip(other_positions, others, strict=True))
    return Scan(
        content=content,
        notes=[],
        regular_annotations=AnnotationTable(**arrays),
        positions=positions,
        other_annotations=others,
    )
