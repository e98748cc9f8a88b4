"""Checks and repairs segmentations of a COCO json before they are given to pycocotools.

pycocotools does not check its input. It reads [x, y, x, y] as a box. It needs memory in proportion to the
extent of a polygon. And it writes run lengths that are too long beyond the end of its memory.
"""

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import are_numbers, numbers, whole_number
from mask_rcnn.data.masks import run_lengths
from mask_rcnn.data.records import RunLengths, Segmentation

MAX_DECODED = 100_000_000  # maximum pixels of a decoded mask, one byte each
MAX_OUTLINE = 4_000_000  # maximum pixels of a polygon outline; pycocotools needs about 100 bytes for each

# Kinds of repairs that leave an object without a mask.
NO_PIXEL = "a run-length mask has no pixel: the object has a box but no mask"
NO_POLYGON = "no polygon with an area is left: the object has a box but no mask"


def read_segmentation(
    value: object, size: tuple[int, int], *, where: str, findings: Findings
) -> Segmentation | None:
    """Returns a checked and repaired segmentation for pycocotools.

    Args:
        value: `segmentation` of an annotation.
        size: (height, width) of the image.
        where: Name of the annotation, for messages.
        findings: `Findings`, to which repairs are added.

    Returns:
        Polygons `[[x, y, x, y, ...], ...]`, a dict `{"size", "counts"}`, or None if there is no mask.

    Raises:
        ValueError: The segmentation is invalid.
    """
    if isinstance(value, list) and value:
        return _polygons(value, size, where=where, findings=findings)
    if isinstance(value, dict) and value:
        mask, area = read_run_lengths(value, size, where=where, findings=findings)
        if not area:
            findings.repair(NO_PIXEL, where)
        return mask if area else None
    if value is None or (isinstance(value, list | dict | str) and not value):
        return None
    raise ValueError(
        "`segmentation` must be a list of polygons or a run-length object. "
        f"Received: {where} with segmentation={shown(value)}. Convert the mask."
    )


def extent(segmentation: Segmentation) -> tuple[float, float, float, float]:
    """Returns (x1, y1, x2, y2) of a checked segmentation. All are 0 if no pixel is set."""
    if isinstance(segmentation, dict):
        mask: Any = compressed(segmentation)  # the stub has its own type of the dict
        x, y, width, height = coco_mask.toBbox(mask).tolist()
        return x, y, x + width, y + height
    bounds = [(min(p[::2]), min(p[1::2]), max(p[::2]), max(p[1::2])) for p in segmentation]
    x1, y1, x2, y2 = zip(*bounds, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def mask_window(segmentation: Segmentation, size: Sequence[int]) -> np.ndarray:
    """Returns the window (y1, x1, y2, x2) of whole pixels around a mask in an image of `size`, `[4]` int."""
    x1, y1, x2, y2 = extent(segmentation)
    top_left = np.clip(np.floor([y1, x1]), 0, size)
    return np.concatenate([top_left, np.clip(np.ceil([y2, x2]), top_left, size)]).astype(int)


def swapped_extent(segmentation: Segmentation) -> tuple[float, float, float, float] | None:
    """Returns the `extent` if x and y were swapped, or None if it cannot be computed.

    For polygons, y comes first. For run lengths, the runs go along the rows.
    """
    if isinstance(segmentation, list):
        x1, y1, x2, y2 = extent(segmentation)
        return y1, x1, y2, x2
    height, width = segmentation["size"]
    if height * width > MAX_DECODED:
        return None
    runs = run_lengths(segmentation["counts"])
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def pixel_area(segmentation: Segmentation, size: tuple[int, int]) -> int:
    """Returns the number of pixels that a checked segmentation covers."""
    if isinstance(segmentation, list):
        polygons: Any = segmentation  # the stub does not have lists of polygons
        return int(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(polygons, *size))))
    return int(run_lengths(segmentation["counts"])[1::2].sum())


def compressed(mask: RunLengths) -> RunLengths:
    """Returns a run-length mask in compressed form, which most functions of pycocotools need."""
    if isinstance(mask["counts"], str):
        return mask
    uncompressed: Any = mask  # the stub has its own type of the dict
    rle = coco_mask.frPyObjects(uncompressed, *mask["size"])
    return {**mask, "counts": rle["counts"].decode("ascii")}


def _polygons(value, size, *, where, findings):
    if not isinstance(value[0], list):
        findings.repair("`segmentation` was one polygon without the outer list: the list was added", where)
        value = [value]
    elif len(value) > 2 and all(isinstance(p, list) and len(p) == 2 for p in value):
        findings.repair("a polygon was written as pairs [x, y]: it was made flat", where)
        value = [[x for pair in value for x in pair]]
    polygons = [_polygon(polygon, where, findings) for polygon in value]
    kept = [polygon for polygon in polygons if _covers_area(polygon)]
    if len(kept) < len(polygons):
        findings.repair("polygons of fewer than three points or without area were left out", where)
    for polygon in kept:
        _check_outline(polygon, size, where)
    if not kept:
        findings.repair(NO_POLYGON, where)
    return kept or None


def _polygon(value, where, findings):
    """Returns a polygon as a flat list of numbers."""
    if isinstance(value, list) and value and all(isinstance(p, list) and len(p) == 2 for p in value):
        findings.repair("a polygon was written as pairs [x, y]: it was made flat", where)
        value = [x for pair in value for x in pair]
    if isinstance(value, list) and not are_numbers(value):
        known = numbers(value)
        if isinstance(known, list):
            findings.repair("coordinates of a polygon were text: they were read as numbers", where)
            value = known
    if not isinstance(value, list) or not are_numbers(value) or len(value) % 2:
        raise ValueError(
            "A polygon is a list [x, y, x, y, ...] of at least three points, finite numbers. "
            f"Received: {where} with polygon={shown(value)}. Correct or remove the annotation."
        )
    return value


def _covers_area(polygon):
    """Returns whether a polygon has at least three points that are not on one line."""
    if len(polygon) < 6:
        return False
    x, y = polygon[::2], polygon[1::2]
    doubled = sum(map(mul, x, y[1:] + y[:1])) - sum(map(mul, x[1:] + x[:1], y))
    if abs(doubled) > 1e-3:
        return True
    points = np.reshape(polygon, (-1, 2)) - polygon[:2]  # the net area of a figure eight is 0, too
    farthest = points[np.argmax(np.abs(points).sum(axis=1))]
    return bool(np.abs(points @ (farthest[1], -farthest[0])).max() > 1e-6)


def _check_outline(polygon, size, where):
    """Raises a ValueError if a polygon reaches far beyond its image or has a very long outline.

    pycocotools needs memory in proportion to the outline.
    """
    (height, width), x, y = size, polygon[::2], polygon[1::2]
    if min(x) < -width or min(y) < -height or max(x) > 2 * width or max(y) > 2 * height:
        raise ValueError(
            "A polygon must lie in its image. "
            f"Received: {where} with x from {min(x):g} to {max(x):g} and y from {min(y):g} to {max(y):g} "
            f"in an image of height={height}, width={width}. Check that these are pixels of this image."
        )
    longest = len(x) * max(max(x) - min(x), max(y) - min(y))
    if longest > MAX_OUTLINE and np.abs(np.diff(np.reshape(polygon, (-1, 2)), axis=0)).sum() > MAX_OUTLINE:
        raise ValueError(
            f"The outline of a polygon must have at most {MAX_OUTLINE} pixels. "
            f"Received: {where} with {len(x)} points and a longer outline. Simplify the polygon."
        )


def read_run_lengths(
    value: Mapping[str, Any], size: tuple[int, int], *, where: str, findings: Findings
) -> tuple[RunLengths, int]:
    """Returns a checked run-length mask, and the number of its pixels.

    Args:
        value: `segmentation` of an annotation, a dict with `size` and `counts`.
        size: (height, width) of the image.
        where: Name of the annotation, for messages.
        findings: `Findings`, to which repairs are added.

    Returns:
        mask: `{"size": [H, W], "counts": str or list of int}`.
        area: Number of pixels, int.

    Raises:
        ValueError: The run lengths are invalid.
    """
    counts = _checked_counts(value.get("counts"), size, declared=value.get("size"), where=where)
    if isinstance(counts, list):
        whole_counts = [run for run in map(whole_number, counts) if isinstance(run, int)]
        if len(whole_counts) < len(counts):
            raise _bad_counts(size, where, "with counts that are not whole numbers")
        if whole_counts != counts or not set(map(type, counts)) <= {int}:
            findings.repair("run lengths were text or floats: they were read as whole numbers", where)
        counts = whole_counts
    try:
        runs = run_lengths(counts)
    except ValueError as error:
        raise _bad_counts(size, where, f"with counts that are damaged ({error})") from error
    if (runs < 0).any() or (runs > math.prod(size)).any() or runs.sum() != math.prod(size):
        negative = ", some of them negative" if (runs < 0).any() else ""
        raise _bad_counts(size, where, f"with a sum of {sum(runs.tolist())}{negative}")
    return {"size": list(size), "counts": counts}, int(runs[1::2].sum())


def _checked_counts(counts, size, *, declared, where) -> str | list[Any]:
    """Returns the `counts` of a mask. Raises a ValueError unless its declared size is that of the image."""
    sides = list(map(whole_number, declared)) if isinstance(declared, list) else declared
    if sides == list(size) and isinstance(counts, str | list):
        return counts
    swapped = sides == list(size)[::-1]
    advice = "This is (width, height); COCO has (height, width)." if swapped else "Make the mask again."
    raise ValueError(
        "A run-length mask needs `counts` and the `size` [height, width] of its image. "
        f"Received: {where} with size={shown(declared)}, counts={shown(counts)} in an image of "
        f"height={size[0]}, width={size[1]}. {advice}"
    )


def _bad_counts(size, where, received):
    return ValueError(
        f"Run lengths must be whole numbers and sum to the pixels of the image, {math.prod(size)}. "
        f"Received: {where} {received}. Make the mask again."
    )
