"""Converts masks of annotations, COCO's polygons and run lengths, to pixels of the image or of a box.

The pixel (y, x) covers the square from (y, x) to (y + 1, x + 1). Run lengths go down the columns, and the
first run counts zeros (COCO's order).
"""

import re
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.records import RunLengths, Segmentation
from mask_rcnn.structures import encode_crop

RUN_CHARACTERS = bytes(range(48, 48 + 64))  # characters of compressed run lengths
# After a character from P on, the number continues. Eight characters hold 40 bits, more than any image needs.
ENDLESS_RUN = re.compile(rb"[P-o]{8}|[P-o]$")


def run_lengths(counts: str | bytes | Sequence[int]) -> np.ndarray:
    """Decodes COCO's run lengths, compressed (str, bytes) or not (list), to `[R]` int64.

    The compressed form has 5 bits per character, lowest first. The sixth bit says that the number continues.
    From the fourth number on, a number is the difference to the one two places before.

    Raises:
        ValueError: The text is not a valid compressed form.
    """
    if not isinstance(counts, str | bytes):
        return np.asarray(counts, "int64")
    counts = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    if counts.translate(None, RUN_CHARACTERS) or ENDLESS_RUN.search(counts):
        raise ValueError("characters that run lengths do not have, or a run that does not end")
    codes = np.frombuffer(counts, "uint8").astype("int64") - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not ends.size:
        return np.zeros(0, "int64")
    lengths = np.diff(ends, prepend=-1)  # characters of each number
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= (codes[ends] & 16 != 0) * (1 << 5 * lengths)  # negative, in two's complement
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def full_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Returns the mask of a segmentation in the whole image, `[height, width]` bool.

    Args:
        segmentation: Polygons or run lengths, as in COCO.
        height, width: Size of the image, in pixels.
    """
    if isinstance(segmentation, dict):
        runs = run_lengths(segmentation["counts"])
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    return _rasterize(segmentation, height, width)


def mask_in_window(segmentation: Segmentation, window: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the mask of a segmentation in a window of its image, `[y2 - y1, x2 - x1]` bool.

    Args:
        segmentation: Polygons or run lengths, as in COCO.
        window: (y1, x1, y2, x2), whole pixels inside of the image.
    """
    y1, x1, y2, x2 = map(int, window)
    if isinstance(segmentation, dict):
        return _columns(segmentation, x1, x2)[y1:y2]
    polygons = [(np.reshape(polygon, (-1, 2)) - (x1, y1)).ravel().tolist() for polygon in segmentation]
    return _rasterize(polygons, y2 - y1, x2 - x1)


def encode_mask(
    mask: np.ndarray, origin: Sequence[int] = (0, 0), size: tuple[int, int] | None = None
) -> RunLengths:
    """Returns the run lengths of a mask.

    Args:
        mask: `[h, w]` bool.
        origin: (y, x) of its first pixel in the image. Defaults to (0, 0).
        size: (height, width) of the image. Defaults to that of the mask.

    Returns:
        `{"size": [H, W], "counts": str}`, as in COCO.
    """
    return encode_crop(mask, origin, size or mask.shape)


def mask_extent(mask: np.ndarray) -> np.ndarray:
    """Returns the tight yxyx box of a mask `[H, W]`, `[4]` float64; zeros if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.zeros(4)
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], "float64")


def mask_in_box(segmentation: Segmentation, box: Sequence[float] | np.ndarray, size: int) -> np.ndarray:
    """Returns a mask sampled at the centers of a regular grid in a box, `[size, size]` bool.

    Polygons are rasterized directly in the grid, so that an object of a few pixels keeps its shape.

    Args:
        segmentation: Polygons or run lengths, as in COCO.
        box: (y1, x1, y2, x2), pixels.
        size: Number of cells along each side of the grid.
    """
    y1, x1, y2, x2 = box
    if isinstance(segmentation, dict):
        centers = (np.arange(size) + 0.5) / size
        rows = (y1 + (y2 - y1) * centers).astype("int64")
        columns = (x1 + (x2 - x1) * centers).astype("int64")
        strip = _columns(segmentation, columns[0], columns[-1] + 1)
        return strip[np.ix_(rows, columns - columns[0])]
    scale = np.array([size / (x2 - x1), size / (y2 - y1)])
    polygons = [(np.reshape(polygon, (-1, 2)) - (x1, y1)) * scale for polygon in segmentation]
    return _rasterize([polygon.ravel().tolist() for polygon in polygons], size, size)


def _columns(rle: RunLengths, start: int, stop: int) -> np.ndarray:
    """Decodes only the columns `start` to `stop` of a mask, `[H, columns]`, as most objects are small."""
    height = rle["size"][0]
    ends = np.cumsum(run_lengths(rle["counts"])) - start * height
    runs = np.diff(np.clip(ends, 0, (stop - start) * height), prepend=0)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(stop - start, height).T


def _rasterize(polygons, height, width):
    """Returns the union of polygons `[x, y, x, y, ...]`, rasterized as in COCO's evaluation."""
    parts = coco_mask.frPyObjects(polygons, height, width)
    return full_mask(dict(coco_mask.merge(parts)), height, width)
