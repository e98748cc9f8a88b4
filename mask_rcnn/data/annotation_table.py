"""All annotations of a data set in NumPy arrays: 300 bytes for an object with a polygon of 30 points."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from mask_rcnn.data.records import Annotation, Segmentation

FIXED_POINT = 100  # COCO has two decimals, so an int32 in hundredths of a pixel is exact

PER_ROW = (
    "ids",
    "images",
    "class_ids",
    "boxes",
    "areas",
    "crowd",
    "polygon_starts",
    "num_polygons",
    "mask_starts",
    "mask_lengths",
    "keypoint_starts",
    "num_keypoints",
)
STARTS = {"polygon_starts": "polygon_lengths", "mask_starts": "masks", "keypoint_starts": "keypoints"}


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotationTable:
    """N annotations of I images as arrays. Polygons, masks and keypoints are ranges of shared arrays.

    Args:
        ids: `[N]` int64, ids of the annotations in their file.
        images: `[N]` int32, index of the image.
        class_ids: `[N]` int64, category ids of the file, or class ids 1..K.
        boxes: `[N, 4]` float64, COCO's (x, y, width, height), not clipped to the image.
        areas: `[N]` float64, square pixels.
        crowd: `[N]` bool.
        polygon_starts, num_polygons: `[N]` int64, the range of an annotation in the P polygons.
        mask_starts, mask_lengths: `[N]` int64, the range of an annotation in the M mask bytes.
        keypoint_starts, num_keypoints: `[N]` int64, the range of an annotation in the K keypoints.
        polygon_lengths: `[P]` int64, count of numbers of a polygon, twice its points.
        numbers: Flat coordinates (x, y) of all polygons, float64 in pixels or int32 in hundredths of a pixel.
        masks: `[M]` uint8, run lengths of masks, the json text of COCO's `counts`.
        keypoints: `[K, 3]` float64 (x, y, visibility).
    """

    ids: np.ndarray
    images: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    polygon_starts: np.ndarray
    num_polygons: np.ndarray
    mask_starts: np.ndarray
    mask_lengths: np.ndarray
    keypoint_starts: np.ndarray
    num_keypoints: np.ndarray
    polygon_lengths: np.ndarray
    numbers: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def number_starts(self) -> np.ndarray:
        """`[P + 1]` int64, start of each polygon in `numbers`, and the end of the last one."""
        return starts_of(self.polygon_lengths, with_end=True)

    @functools.cached_property
    def has_mask(self) -> np.ndarray:
        """`[N]` bool, whether an annotation has a segmentation."""
        return (self.num_polygons > 0) | (self.mask_lengths > 0)

    @functools.cached_property
    def has_keypoints(self) -> np.ndarray:
        """`[N]` bool, whether at least one keypoint of an annotation has a visibility above 0."""
        num_known = starts_of(self.keypoints[:, 2] > 0, with_end=True)
        return num_known[self.keypoint_starts + self.num_keypoints] > num_known[self.keypoint_starts]

    def take(self, rows: np.ndarray) -> "AnnotationTable":
        """Returns a table of the rows `rows`, in that order. It shares polygons, masks and keypoints."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in PER_ROW})

    def segmentation(self, row: int, size: tuple[int, int]) -> Segmentation | None:
        """Returns the segmentation of a row in COCO's format, or None.

        Args:
            row: Index of the row.
            size: (height, width) of its image.
        """
        first, count = int(self.polygon_starts[row]), int(self.num_polygons[row])
        if count:
            ends = self.number_starts[first : first + count + 1]
            flat = as_floats(self.numbers[ends[0] : ends[-1]]).tolist()
            ends = (ends - ends[0]).tolist()
            return [flat[start:end] for start, end in itertools.pairwise(ends)]
        start, length = int(self.mask_starts[row]), int(self.mask_lengths[row])
        if length:
            counts = msgspec.json.decode(self.masks[start : start + length].tobytes())
            return {"size": list(size), "counts": counts}
        return None

    def points(self, row: int) -> tuple[tuple[float, float, int], ...] | None:
        """Returns the keypoints of a row as tuples (x, y, visibility), or None if it has none."""
        start, count = int(self.keypoint_starts[row]), int(self.num_keypoints[row])
        points = self.keypoints[start : start + count].tolist()
        return tuple((x, y, int(visibility)) for x, y, visibility in points) or None


class ImageAnnotations(Sequence[Annotation]):
    """Sequence of the annotations of one image; each `Annotation` is made from a table row on demand.

    Args:
        table: `AnnotationTable` with class ids 1..K.
        start, stop: First row of the image, and the row after its last one.
        size: (height, width) of the image, to which boxes are clipped.
    """

    __slots__ = ("size", "start", "stop", "table")

    def __init__(self, table: AnnotationTable, start: int, stop: int, *, size: tuple[int, int]):
        self.table, self.start, self.stop, self.size = table, start, stop, size

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> Annotation: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Annotation, ...]: ...

    def __getitem__(self, index: int | slice) -> Annotation | tuple[Annotation, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"Expected an index below {len(self)}. Received: {index}.")
        return self._annotation(self.start + index % len(self))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, ImageAnnotations) else other)

    def __hash__(self) -> int:
        return hash((id(self.table), self.start, self.stop))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _annotation(self, row: int) -> Annotation:
        table = self.table
        x, y, width, height = table.boxes[row].tolist()
        return Annotation(
            id=int(table.ids[row]),
            class_id=int(table.class_ids[row]),
            box=(max(y, 0.0), max(x, 0.0), min(y + height, self.size[0]), min(x + width, self.size[1])),
            area=float(table.areas[row]),
            crowd=bool(table.crowd[row]),
            segmentation=table.segmentation(row, self.size),
            keypoints=table.points(row),
        )


def table_of(annotations: Sequence[Mapping[str, Any]], images: Sequence[int]) -> AnnotationTable:
    """Returns the `AnnotationTable` of annotations that were read one by one.

    Args:
        annotations: List of dicts from `read_annotation`.
        images: List with the image index of each annotation.
    """
    masks = [annotation["segmentation"] for annotation in annotations]
    return make_table(
        ids=[annotation["id"] for annotation in annotations],
        images=images,
        class_ids=[annotation["category_id"] for annotation in annotations],
        boxes=[annotation["bbox"] for annotation in annotations],
        areas=[annotation["area"] for annotation in annotations],
        crowd=[annotation["iscrowd"] for annotation in annotations],
        polygons=[mask if isinstance(mask, list) else [] for mask in masks],
        runs=[msgspec.json.encode(mask["counts"]) if isinstance(mask, dict) else b"" for mask in masks],
        keypoints=[annotation["keypoints"] or [] for annotation in annotations],
    )


def make_table(*, polygons: Sequence[Sequence[Sequence[float]]], **columns: Any) -> AnnotationTable:
    """Returns an `AnnotationTable` made from Python lists.

    Args:
        polygons: A list of polygons for each annotation, each a flat list of x, y.
        columns: The other arguments of `join_columns`, without `num_polygons`, `polygon_lengths` and
            `numbers`, which are those of `polygons`.
    """
    flat = list(itertools.chain.from_iterable(polygons))
    return join_columns(
        num_polygons=_lengths(polygons),
        polygon_lengths=_lengths(flat),
        numbers=np.array(list(itertools.chain.from_iterable(flat)), "float64"),
        **columns,
    )


def join_columns(
    *,
    ids: ArrayLike,
    images: ArrayLike,
    class_ids: ArrayLike,
    boxes: ArrayLike,
    areas: ArrayLike,
    crowd: ArrayLike,
    num_polygons: ArrayLike,
    polygon_lengths: ArrayLike,
    numbers: np.ndarray,
    runs: Sequence[bytes],
    keypoints: Sequence[Sequence[float]],
) -> AnnotationTable:
    """Returns an `AnnotationTable` made from its columns.

    Args:
        ids, images, class_ids, boxes, areas, crowd, num_polygons: One value per annotation, as in
            `AnnotationTable`.
        polygon_lengths: Count of numbers of each polygon.
        numbers: Flat float64 coordinates of all polygons.
        runs: Json text of the run lengths of each annotation, or b"".
        keypoints: A flat list of x, y, visibility for each annotation.
    """
    num_polygons = np.array(num_polygons, "int64")
    mask_lengths, num_keypoints = _lengths(runs), _lengths(keypoints) // 3
    return AnnotationTable(
        ids=np.array(ids, "int64"),
        images=np.array(images, "int32"),
        class_ids=np.array(class_ids, "int64"),
        boxes=np.array(boxes, "float64").reshape(-1, 4),
        areas=np.array(areas, "float64"),
        crowd=np.array(crowd, bool),
        polygon_starts=starts_of(num_polygons),
        num_polygons=num_polygons,
        mask_starts=starts_of(mask_lengths),
        mask_lengths=mask_lengths,
        keypoint_starts=starts_of(num_keypoints),
        num_keypoints=num_keypoints,
        polygon_lengths=np.array(polygon_lengths, "int64"),
        numbers=_compact(numbers),
        masks=np.frombuffer(b"".join(runs), "uint8"),
        keypoints=np.array(list(itertools.chain.from_iterable(keypoints)), "float64").reshape(-1, 3),
    )


def concatenate(tables: Sequence[AnnotationTable]) -> AnnotationTable:
    """Returns one `AnnotationTable` with the rows of all tables, in order. There must be at least one."""
    parts = {field.name: [] for field in dataclasses.fields(AnnotationTable)}
    offsets = dict.fromkeys(STARTS, 0)
    all_fixed_point = all(table.numbers.dtype == np.int32 for table in tables)
    for table in tables:
        for name, arrays in parts.items():
            array = getattr(table, name)
            if name in STARTS:
                array = array + offsets[name]
                offsets[name] += len(getattr(table, STARTS[name]))
            elif name == "numbers" and not all_fixed_point:
                array = as_floats(array)
            arrays.append(array)
    return AnnotationTable(**{name: np.concatenate(arrays) for name, arrays in parts.items()})


def starts_of(lengths: ArrayLike, with_end: bool = False) -> np.ndarray:
    """Returns the starts of consecutive parts, `[N]` int64, or `[N + 1]` with the end of the last part."""
    ends = np.concatenate([[0], np.cumsum(lengths, dtype="int64")])
    return ends if with_end else ends[:-1]


def as_floats(numbers: np.ndarray) -> np.ndarray:
    """Returns the coordinates of a table in pixels, float64, equal to those in the file."""
    return numbers / FIXED_POINT if numbers.dtype == np.int32 else numbers


def _compact(numbers: np.ndarray) -> np.ndarray:
    """Returns coordinates as int32 hundredths of a pixel if this is exact, otherwise unchanged as float64."""
    if not len(numbers) or np.abs(numbers).max() * FIXED_POINT < 2**31 - 1:
        hundredths = np.rint(numbers * FIXED_POINT).astype("int32")
        if (hundredths / FIXED_POINT == numbers).all():
            return hundredths
    return numbers


def _lengths(lists: Sequence[Sequence]) -> np.ndarray:
    return np.fromiter(map(len, lists), "int64", len(lists))
