"""Converts masks to polygons along the edges of their pixels, and joins several polygons to one.

pycocotools converts these polygons back to exactly the same pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop

MAX_PAIRS = 1_000_000  # pairs of points whose distances are computed together, 40 MB


def mask_outlines(mask: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Returns the outlines of a mask and of its holes.

    Args:
        mask: `[H, W]` bool.

    Returns:
        List of tuples (points `[N, 2]` int64 (x, y), whether the outline is that of a hole).
    """
    # OpenCV returns border pixels. At twice the size, they show on which side of a pixel the edge is.
    doubled = np.asarray(np.kron(mask.astype("uint8"), np.ones((2, 2), "uint8")), "uint8")
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour, (*_, parent) in zip(contours, [] if hierarchy is None else hierarchy[0], strict=True):
        edges = (contour[:, 0].astype("int64") + 1) // 2
        outlines.append((_corners(edges), parent >= 0))
    return outlines


def polygons_with_holes(mask: np.ndarray) -> list[list[np.ndarray]]:
    """Returns the polygons of a mask with their holes.

    Pixels that touch only at a corner belong to different polygons, so no ring touches itself.

    Args:
        mask: `[H, W]` bool.

    Returns:
        List of polygons. A polygon is a list of rings `[N, 2]` (x, y), first the outline, then the holes.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype("uint8"), connectivity=4)
    polygons = []
    for label in range(1, count):
        x, y, width, height, _ = boxes[label]
        rings = mask_outlines(labels[y : y + height, x : x + width] == label)
        rings = sorted(rings, key=lambda ring: ring[1])  # the only outline first
        polygons.append([ring + (x, y) for ring, _ in rings])
    return polygons


def _corners(points):
    """Returns the points `[N, 2]` at which a closed line changes its direction."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Joins rings to one polygon `[N, 2]`. It covers the points that an odd number of the rings cover.

    A ring is connected by a line to the polygon and the same line back. Such a connection has no area.

    Args:
        rings: List of rings `[N, 2]`, outlines and holes.
    """
    joined, *remaining = sorted(rings, key=len, reverse=True)
    for ring in remaining:
        # For long rings, only their first point is connected: the distances of all pairs need too much
        # memory.
        ends = ring if len(joined) * len(ring) <= MAX_PAIRS else ring[:1]
        distances = ((joined[:, None] - ends[None]) ** 2).sum(axis=-1)
        at, first = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(ring, -first, axis=0)
        joined = np.concatenate([joined[: at + 1], turned, turned[:1], joined[at:]])
    return joined


def single_polygon(segmentation: list | dict, size: tuple[int, int]) -> np.ndarray:
    """Converts a segmentation to one polygon `[N, 2]` (x, y), for formats with one polygon per object.

    Args:
        segmentation: COCO polygons or RLE.
        size: (height, width) of the image.
    """
    if isinstance(segmentation, list) and len(segmentation) == 1:
        return np.reshape(segmentation[0], (-1, 2))
    # Parts may overlap, so they are converted to pixels first.
    crop, (y, x) = mask_crop(segmentation, size)
    if not crop.size:  # the parts are too thin to contain the center of a pixel
        return np.reshape(max(segmentation, key=len), (-1, 2))
    return join_rings([ring for ring, _ in mask_outlines(crop)]) + (x, y)
