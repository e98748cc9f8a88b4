"""Reads the annotations of a large COCO json into arrays, without a Python object for each of them.

Most annotations of a file are regular: every field has the usual form, and nothing is to be repaired, refused
or reported. These are decoded and checked in blocks. All others are returned as they are written, for the
functions that check them one by one. A file that this reader cannot split safely is parsed as a whole.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from mask_rcnn.data import reader_cache
from mask_rcnn.data.annotation_table import AnnotationTable, concatenate, make_table
from mask_rcnn.data.coco_entries import read_images
from mask_rcnn.data.fields import MAX_EXACT
from mask_rcnn.data.findings import Findings
from mask_rcnn.data.json_file import parse_json, read_bytes
from mask_rcnn.data.regular import KnownImages, are_regular, is_well_formed

BLOCK = 1024  # annotations that are decoded and checked at a time; with more, garbage collection is slow
EMPTY = {name: [] for name in ("ids", "images", "class_ids", "boxes", "areas", "crowd")}
EMPTY |= {name: [] for name in ("polygons", "runs", "keypoints")}

WholeNumber = Annotated[int, msgspec.Meta(gt=-MAX_EXACT, lt=MAX_EXACT)]


class Entry(msgspec.Struct, gc=False):
    """An annotation as nearly all files have it; any other type of a value is an error of the decoder."""

    id: WholeNumber
    image_id: WholeNumber
    category_id: WholeNumber
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: Literal[0, 1]
    segmentation: list[list[float]] | None | msgspec.UnsetType = msgspec.UNSET
    keypoints: list[float] | None | msgspec.UnsetType = msgspec.UNSET
    num_keypoints: Any = msgspec.UNSET


class _Split(msgspec.Struct):
    annotations: list[msgspec.Raw]


@dataclass(frozen=True)
class Scan:
    """A json whose annotations are split into regular and other ones.

    Args:
        content: The content of the json, with an empty list `annotations`.
        notes: What was guessed about the encoding, a sentence each.
        table: `AnnotationTable` of the regular annotations; `images` counts the images of `read_images`.
        positions: `[N]` int64, position of each regular annotation in the list of the json.
        others: (position, entry) of all other annotations, as the json has them.
    """

    content: Any
    notes: list
    table: AnnotationTable
    positions: np.ndarray
    others: list


def scan_file(path, expected):
    """Returns the `Scan` of a json file; raises as `read_json`.

    Args:
        path: Path of the file.
        expected: What the file should be, for the error messages.
    """
    data = read_bytes(path, expected)
    key = reader_cache.content_key(data)
    cached = reader_cache.load("annotations", key) if len(data) >= reader_cache.MIN_BYTES else None
    if cached is not None:
        return _unpacked(cached, path, expected)
    found = _split_and_read(data, path, expected)
    if found is None:
        return scan_of(*parse_json(data, path, expected))
    scanned, arrays = found
    if len(data) >= reader_cache.MIN_BYTES:
        reader_cache.save("annotations", key, arrays)
    return scanned


def scan_of(content, notes=()):
    """Returns the `Scan` of a parsed json, in which no annotation is known to be regular."""
    annotations = content.get("annotations") if isinstance(content, dict) else None
    others = list(enumerate(annotations)) if isinstance(annotations, list) else []
    return Scan(content, list(notes), make_table(**EMPTY), np.zeros(0, "int64"), others)


def _split_and_read(data, path, expected):
    """Returns the `Scan` of a json and its arrays for the cache, or None if it must be parsed as a whole."""
    try:
        annotations = msgspec.json.decode(data, type=_Split).annotations
        rest = _without(data, annotations)
        content = _parse_strictly(rest, path, expected)
        images = KnownImages(
            content["images"], content["categories"], read_images(content["images"], Findings())
        )
        table, positions, others = _read_blocks(annotations, images, path, expected)
        texts = b"[" + b",".join(bytes(annotations[position]) for position in others) + b"]"
        arrays = {**vars(table), "positions": positions, "other_positions": np.array(others, "int64")}
        arrays |= {"rest": np.frombuffer(rest, "uint8"), "others": np.frombuffer(texts, "uint8")}
        return _unpacked(arrays, path, expected), arrays
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # the reader of the whole file says what is wrong


def _without(data, annotations):
    """Returns the bytes of a json without the entries of its list `annotations`."""
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


def _read_blocks(annotations, images, path, expected):
    """Returns the table and the positions of the regular annotations, and the positions of the others."""
    tables, positions, others = [make_table(**EMPTY)], [np.zeros(0, "int64")], []
    for start in range(0, len(annotations), BLOCK):
        entries, where = [], []
        for position, entry in enumerate(_decoded(annotations[start : start + BLOCK], path, expected), start):
            is_usable = entry is not None and is_well_formed(entry, images)
            (where if is_usable else others).append(position)
            if is_usable:
                entries.append(entry)
        table, where = _table(entries, images), np.array(where, "int64")
        regular = are_regular(table, images.sizes)
        tables.append(table.take(regular))
        positions.append(where[regular])
        others += where[~regular].tolist()
    return concatenate(tables), np.concatenate(positions), sorted(others)


_decode_block = msgspec.json.Decoder(list[Entry]).decode
_decode = msgspec.json.Decoder(Entry).decode


def _decoded(block, path, expected):
    """Returns, of the json text of each annotation, its `Entry`, or None if a value has another type."""
    text = b"[" + b",".join(block) + b"]"
    try:
        entries = _decode_block(text)
    except msgspec.ValidationError:
        entries = []
    if len(entries) == len(block) and text.count(b'"') == 2 * sum(map(_num_fields, entries)):
        return entries
    return [_decoded_alone(bytes(raw), path, expected) for raw in block]


def _decoded_alone(text, path, expected):
    try:
        entry = _decode(text)
    except msgspec.ValidationError:
        entry = None
    if entry is None or text.count(b'"') != 2 * _num_fields(entry):
        _parse_strictly(text, path, expected)  # there are other fields: is a key repeated?
    return entry


def _num_fields(entry):
    unset = msgspec.UNSET
    masks, points, count = entry.segmentation, entry.keypoints, entry.num_keypoints
    return 6 + (masks is not unset) + (points is not unset) + (count is not unset)


def _table(entries, images):
    return make_table(
        ids=[one.id for one in entries],
        images=[images.index[one.image_id] for one in entries],
        class_ids=[one.category_id for one in entries],
        boxes=[one.bbox for one in entries],
        areas=[one.area for one in entries],
        crowd=[one.iscrowd for one in entries],
        polygons=[one.segmentation or () for one in entries],
        runs=[b""] * len(entries),
        keypoints=[one.keypoints or () for one in entries],
    )


def _unpacked(arrays, path, expected):
    """Returns the `Scan` of the arrays that the cache keeps."""
    arrays = dict(arrays)
    content, others = (
        _parse_strictly(arrays.pop(name).tobytes(), path, expected) for name in ("rest", "others")
    )
    other_positions, positions = arrays.pop("other_positions").tolist(), arrays.pop("positions")
    others = list(zip(other_positions, others, strict=True))
    return Scan(content, [], AnnotationTable(**arrays), positions, others)
