"""Decodes annotations of a COCO json in blocks, without a Python object for each coordinate."""

import itertools
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import simdjson

from mask_rcnn.data.annotation_table import AnnotationTable, concatenate, join_columns
from mask_rcnn.data.json_values import MAX_EXACT
from mask_rcnn.data.readers.regular_annotations import KnownImages, are_regular, is_well_formed

MIN_NUMBERS = 6  # numbers in a polygon of three points

WholeNumber = Annotated[int, msgspec.Meta(gt=-MAX_EXACT, lt=MAX_EXACT)]


class Entry(msgspec.Struct, gc=False):
    """An annotation with the usual types. Any other type makes the decoder fail."""

    id: WholeNumber
    image_id: WholeNumber
    category_id: WholeNumber
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: Literal[0, 1] | msgspec.UnsetType = msgspec.UNSET
    segmentation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    keypoints: list[float] | None | msgspec.UnsetType = msgspec.UNSET
    num_keypoints: Any = msgspec.UNSET


class _Polygons(NamedTuple):
    """The polygons of N annotations.

    Args:
        counts: `[N]` int64, number of polygons of each annotation.
        lengths: `[P]` int64, count of numbers of each polygon.
        numbers: Flat float64 coordinates of all polygons.
    """

    counts: np.ndarray
    lengths: np.ndarray
    numbers: np.ndarray

    def are_usual(self) -> np.ndarray:
        """Returns which annotations only have polygons of at least three points, `[N]` bool."""
        usual = np.ones(len(self.counts), bool)
        wrong = (self.lengths < MIN_NUMBERS) | (self.lengths % 2 != 0)
        usual[np.repeat(np.arange(len(usual)), self.counts)[wrong]] = False
        return usual

    def select(self, mask: np.ndarray) -> "_Polygons":
        """Returns the polygons of the annotations that a mask `[N]` bool selects."""
        kept = np.repeat(mask, self.counts)
        numbers = self.numbers[np.repeat(kept, self.lengths)]
        return _Polygons(self.counts[mask], self.lengths[kept], numbers)


NO_POLYGONS = _Polygons(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


def read_block(
    block: list[msgspec.Raw], images: KnownImages, parse: Callable[[bytes], Any]
) -> tuple[AnnotationTable, np.ndarray]:
    """Returns the table of the regular annotations of a block, and which annotations are regular.

    Args:
        block: List of the json texts of N annotations, N > 0.
        images: `KnownImages`.
        parse: Function of a json text that raises a ValueError if an object in it repeats a key.

    Returns:
        table: `AnnotationTable` of the regular annotations.
        is_regular: `[N]` bool.
    """
    entries = _decoded(block, parse)
    outlines = [_outline(entry) if entry else b"" for entry in entries]
    usable = np.array(
        [
            entry is not None and outline.startswith(b"[") and is_well_formed(entry, images)
            for entry, outline in zip(entries, outlines, strict=True)
        ]
    )
    polygons = _polygons(list(itertools.compress(outlines, usable)))
    if polygons is None and len(block) > 1:  # bisects to find the annotation with other values than numbers
        half = len(block) // 2
        parts = [read_block(part, images, parse) for part in (block[:half], block[half:])]
        return concatenate([table for table, _ in parts]), np.concatenate([mask for _, mask in parts])
    if polygons is None:
        usable[:], polygons = False, NO_POLYGONS
    usual = polygons.are_usual()
    usable[usable] = usual
    table = _table(list(itertools.compress(entries, usable)), polygons.select(usual), images)
    is_regular = are_regular(table, images.sizes)
    usable[usable] = is_regular
    return table.take(is_regular), usable


_decode_block = msgspec.json.Decoder(list[Entry]).decode
_decode = msgspec.json.Decoder(Entry).decode


def _decoded(block, parse):
    """Returns a list with an `Entry` for each annotation, or None if one of its values has another type."""
    text = b"[" + b",".join(block) + b"]"
    try:
        entries = _decode_block(text)
    except msgspec.ValidationError:
        entries = []
    if len(entries) == len(block) and text.count(b'"') == _num_quotes(entries):
        return entries
    return [_decoded_alone(bytes(raw), parse) for raw in block]


def _decoded_alone(text, parse):
    try:
        entry = _decode(text)
    except msgspec.ValidationError:
        entry = None
    if entry is None or text.count(b'"') != _num_quotes([entry]):
        parse(text)  # there are other fields, so check that no key is repeated
    return entry


def _num_quotes(entries):
    """Returns the number of quotes in the json text of annotations that have no other fields."""
    unset = msgspec.UNSET
    masks = [entry.segmentation for entry in entries if entry.segmentation is not unset]
    num_fields = 5 * len(entries) + len(masks)
    num_fields += sum([entry.iscrowd is not unset for entry in entries])
    num_fields += sum([entry.keypoints is not unset for entry in entries])
    num_fields += sum([entry.num_keypoints is not unset for entry in entries])
    return 2 * num_fields + b"".join(masks).count(b'"')


def _outline(entry):
    """Returns the json text of a segmentation, or of an empty list if there is none."""
    text = b"null" if entry.segmentation is msgspec.UNSET else bytes(entry.segmentation)
    return b"[]" if text == b"null" else text


def _polygons(outlines: list[bytes]) -> _Polygons | None:
    """Returns `_Polygons`, or None unless each json text is a list of lists of numbers."""
    text = b"[" + b",".join(outlines) + b"]"
    try:
        decoded: Any = simdjson.Parser().parse(text)  # an array, or anything else if the text is damaged
        counts = [len(polygons) for polygons in decoded]
        lengths = [len(polygon) for polygons in decoded for polygon in polygons]
        numbers = np.frombuffer(decoded.as_buffer(of_type="d"))  # numbers of all polygons, in order
    except (ValueError, TypeError, RuntimeError):
        return None
    is_nested_deeper = text.count(b"[") != 1 + len(counts) + len(lengths)
    return None if is_nested_deeper else _Polygons(np.array(counts, int), np.array(lengths, int), numbers)


def _table(entries, polygons, images):
    return join_columns(
        ids=[entry.id for entry in entries],
        images=[images.index[entry.image_id] for entry in entries],
        class_ids=[entry.category_id for entry in entries],
        boxes=[entry.bbox for entry in entries],
        areas=[entry.area for entry in entries],
        crowd=[entry.iscrowd == 1 for entry in entries],
        num_polygons=polygons.counts,
        polygon_lengths=polygons.lengths,
        numbers=polygons.numbers,
        runs=[b""] * len(entries),
        keypoints=[entry.keypoints or () for entry in entries],
    )
