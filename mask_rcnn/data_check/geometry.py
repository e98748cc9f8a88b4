"""Finds boxes, masks and areas of annotations that contradict each other, and duplicate objects."""

import functools
import math
from collections.abc import Iterable

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.annotation_table import AnnotationTable
from mask_rcnn.data.readers.annotations import TOLERANCE
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.segmentations import compressed, extent, pixel_area
from mask_rcnn.data_check.overlapping_intervals import overlapping_intervals
from mask_rcnn.data_check.polygons import (
    crossing_polygons,
    owners_of_polygons,
    polygon_areas,
    polygon_bounds,
)
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding

DUPLICATE_IOU = 0.95  # minimum IoU of the boxes of duplicates, of one class in one image
AREA_TOLERANCE = 0.1  # relative; area of polygon and area of pixels differ by less, except for small objects
LARGE_LOOP = 0.05  # fraction of the area; a smaller loop at a crossing has little effect
MIN_REACH = 1.0  # pixels; a box that exceeds its image by less is explained by rounding


class Annotations:
    """The annotations of a `Dataset` as a table, with methods to make examples for findings.

    Args:
        dataset: `Dataset`.
        table: Its `table_of_dataset`.
    """

    def __init__(self, dataset: Dataset, table: AnnotationTable):
        self.dataset, self.table = dataset, table
        self.sizes = dataset.sizes[table.images]  # [N, 2] (height, width)

    def example(self, row: int, text: str, field: str, *, others: Iterable[int] = ()) -> Example:
        """Returns the `Example` of a row.

        Args:
            row: Index of the row.
            text: Text of the example.
            field: Name of the json field.
            others: Further rows of the same image for the picture. Defaults to none.
        """
        record = self.dataset.images[self.table.images[row]]
        ids = tuple(int(self.table.ids[each]) for each in (row, *others))
        return Example(
            text=text, image=record.path.name, annotation=ids[0], field=field, drawn=((record, ids),)
        )

    def segmentation(self, row: int) -> list | dict | None:
        """Returns the segmentation of a row in COCO's format, or None."""
        return self.table.segmentation(row, tuple(self.sizes[row].tolist()))

    @functools.cached_property
    def mask_bounds(self) -> np.ndarray:
        """`[N, 4]` float64 (x1, y1, x2, y2), the box around the mask of each row; NaN without a mask."""
        table = self.table
        bounds = np.full((len(table), 4), np.nan)
        has_polygon = table.num_polygons > 0
        if has_polygon.any():
            around, owners = polygon_bounds(table), owners_of_polygons(table)
            used = owners >= 0
            bounds[has_polygon] = (np.inf, np.inf, -np.inf, -np.inf)
            np.minimum.at(bounds[:, :2], owners[used], around[used, :2])
            np.maximum.at(bounds[:, 2:], owners[used], around[used, 2:])
        for row in np.flatnonzero(table.mask_lengths):
            if segmentation := self.segmentation(int(row)):
                bounds[row] = extent(segmentation)
        return bounds


def geometry_findings(annotations: Annotations) -> list[Finding]:
    """Returns the findings about boxes, masks and areas of `Annotations`."""
    crossing, fractions = crossing_polygons(annotations.table)
    owners = owners_of_polygons(annotations.table)[crossing]
    fractions, owners = fractions[owners >= 0], owners[owners >= 0]
    findings = (
        _outside(annotations),
        _box_and_mask(annotations),
        _areas(annotations, owners),
        _self_crossing(annotations, owners, fractions),
        _duplicates(annotations),
    )
    return [finding for finding in findings if finding]


def reach_outside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns by how many pixels boxes exceed their images, `[N]`.

    Args:
        boxes: `[N, 4]` (x, y, width, height).
        sizes: `[N, 2]` (height, width) of their images.
    """
    x, y, width, height = boxes.T
    return np.max([-x, -y, x + width - sizes[:, 1], y + height - sizes[:, 0]], axis=0, initial=0)


def _worst(values):
    """Returns the indices of the largest values, at most `MAX_EXAMPLES`, the largest first."""
    return np.argsort(-np.asarray(values), kind="stable")[:MAX_EXAMPLES]


def _outside(annotations):
    table = annotations.table
    reach = reach_outside(table.boxes, annotations.sizes)
    rows = np.flatnonzero(reach > MIN_REACH)
    if not len(rows):
        return None
    examples = [
        annotations.example(row, f"{table.boxes[row].tolist()} reaches out by {reach[row]:.1f} px", "bbox")
        for row in rows[_worst(reach[rows])]
    ]
    return Finding(
        kind="outside_box",
        severity="warning",
        title="Boxes reach out of their image",
        count=len(rows),
        advice="Training clips them. Check that boxes and images belong together. `--fix` clips them.",
        examples=tuple(examples),
    )


def _box_and_mask(annotations):
    sizes = annotations.sizes
    bounds = clip_corners(annotations.mask_bounds, sizes)
    corners = clip_corners(_corners(annotations.table.boxes), sizes)
    rows = np.flatnonzero((np.abs(corners - bounds) > TOLERANCE).any(axis=1))  # False for NaN
    if not len(rows):
        return None
    overlap = box_iou(corners[rows], bounds[rows])
    examples = [
        annotations.example(
            rows[each],
            f"the mask is in x {bounds[rows[each]][0]:.0f} to {bounds[rows[each]][2]:.0f}, "
            f"y {bounds[rows[each]][1]:.0f} to {bounds[rows[each]][3]:.0f}, IoU with the box "
            f"{overlap[each]:.2f}",
            "bbox",
        )
        for each in _worst(-overlap)
    ]
    return Finding(
        kind="box_and_mask",
        severity="warning",
        title=f"Boxes differ from the box around their mask by more than {TOLERANCE:g} pixels",
        count=len(rows),
        advice="Box head and mask head learn different objects. Check whether box or mask is correct. "
        "`--fix` computes the box from the mask.",
        examples=tuple(examples),
    )


def clip_corners(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Clips boxes (x1, y1, x2, y2), `[N, 4]`, to images of sizes `[N, 2]`, (height, width)."""
    return np.clip(corners, 0, np.tile(sizes[:, ::-1], 2))


def _corners(boxes):
    """Returns boxes (x, y, width, height) as (x1, y1, x2, y2), `[N, 4]`."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the IoU of pairs of boxes (x1, y1, x2, y2), `[..., 4]` each, as `[...]`.

    `ops.boxes.iou` compares all boxes with all others, and it imports TensorFlow, which no check needs.
    """
    top_left = np.maximum(boxes[..., :2], others[..., :2])
    common = np.maximum(np.minimum(boxes[..., 2:], others[..., 2:]) - top_left, 0).prod(axis=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (boxes, others)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def outline_areas(table: AnnotationTable) -> np.ndarray:
    """Returns the summed area of the polygons of each row, `[N]` float64."""
    owners = owners_of_polygons(table)
    used = owners >= 0
    return np.bincount(owners[used], polygon_areas(table)[used], minlength=len(table))


def areas_differ(areas: np.ndarray, expected: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns which areas differ much from the expected areas, `[N]` bool.

    The area of a polygon and the number of its pixels may differ by about half a pixel along the border.

    Args:
        areas, expected: `[N]`, square pixels.
        boxes: `[N, 4]` (x, y, width, height).
    """
    border = boxes[:, 2] + boxes[:, 3]
    return np.abs(areas - expected) > AREA_TOLERANCE * np.maximum(areas, expected) + border


def _areas(annotations, crossing_rows):
    table = annotations.table
    expected = outline_areas(table)
    is_polygon = table.num_polygons > 0
    suspicious = areas_differ(table.areas, expected, table.boxes) & is_polygon
    bounds = annotations.mask_bounds
    is_outside = (clip_corners(bounds, annotations.sizes) != bounds).any(axis=1)
    needs_pixels = suspicious & ((table.num_polygons > 1) | is_outside)
    needs_pixels[crossing_rows] = suspicious[crossing_rows]
    for row in np.flatnonzero(needs_pixels):
        expected[row] = pixel_area(annotations.segmentation(row), annotations.sizes[row].tolist())
    for row in np.flatnonzero(table.mask_lengths):
        expected[row] = coco_mask.area(compressed(annotations.segmentation(row)))  # pyright: ignore[reportArgumentType]
    rows = np.flatnonzero(areas_differ(table.areas, expected, table.boxes) & table.has_mask)
    if not len(rows):
        return None
    ratio = np.abs(np.log(np.maximum(table.areas[rows], 1) / np.maximum(expected[rows], 1)))
    examples = [
        annotations.example(row, f"{table.areas[row]:g}, but the mask covers {expected[row]:.0f} px", "area")
        for row in rows[_worst(ratio)]
    ]
    return Finding(
        kind="mask_area",
        severity="note",
        title=f"`area` differs from the area of the mask by more than {AREA_TOLERANCE:.0%}",
        count=len(rows),
        advice="The evaluation uses `area` to separate small, medium and large objects. `--fix` computes it "
        "from the mask.",
        examples=tuple(examples),
    )


def _self_crossing(annotations, owners, fractions):
    if not len(owners):
        return None
    num_large = int((fractions > LARGE_LOOP).sum())
    examples = [
        annotations.example(
            owners[each],
            f"the smaller loop at a crossing has {fractions[each]:.1%} of the outline's area",
            "segmentation",
        )
        for each in _worst(fractions)
    ]
    large = f"; in {num_large} the smaller loop has more than {LARGE_LOOP:.0%} of the area"
    return Finding(
        kind="self_crossing",
        severity="warning" if num_large else "note",
        title=f"Polygons cross themselves{large if num_large else ''}",
        count=len(owners),
        advice="The mask may have unintended holes or parts. List the points of an outline in order. `--fix` "
        "writes the mask that training uses as run lengths.",
        examples=tuple(examples),
    )


def duplicate_pairs(table: AnnotationTable) -> np.ndarray:
    """Returns pairs of rows with the same image and class and nearly equal boxes, `[2, M]` int64.

    The second row of a pair comes later in the table. Objects are not compared with crowd regions.
    """
    x, width, corners = table.boxes[:, 0], table.boxes[:, 2], _corners(table.boxes)
    keys = np.stack([table.images, table.class_ids, table.crowd], axis=1)
    _, groups = np.unique(keys, axis=0, return_inverse=True)
    # Boxes with such an IoU start at nearly the same x.
    reach = (1 / DUPLICATE_IOU - 1) * width + 1e-9
    pairs = [np.zeros((2, 0), "int64")]
    for i, j in overlapping_intervals(groups.reshape(-1), x, x + reach):
        same = box_iou(corners[i], corners[j]) >= DUPLICATE_IOU
        pairs.append(np.sort(np.stack([i[same], j[same]]), axis=0))
    return np.concatenate(pairs, axis=1)


def _duplicates(annotations):
    earlier, later = duplicate_pairs(annotations.table)
    duplicates, first = np.unique(later, return_index=True)
    if not len(duplicates):
        return None
    table = annotations.table
    order = _worst([math.prod(table.boxes[row, 2:]) for row in duplicates.tolist()])
    examples = [
        annotations.example(
            duplicates[each],
            f"has class and box of annotation {table.ids[earlier[first[each]]]}",
            "bbox",
            others=(earlier[first[each]],),
        )
        for each in order
    ]
    return Finding(
        kind="duplicate_objects",
        severity="warning",
        title=f"Objects repeat another one: same image and class, IoU of the boxes {DUPLICATE_IOU} or more",
        count=len(duplicates),
        advice="A detector can only find one of them. The other one counts as missed. Remove the duplicates, "
        "or use `--fix`.",
        examples=tuple(examples),
    )
