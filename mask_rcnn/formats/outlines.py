"""Masks as polygons along the edges of their pixels, and several polygons as one.

Drawn again by pycocotools, both give exactly the pixels that they were made of.
"""

import cv2
import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop

MAX_PAIRS = 1_000_000  # of points whose distances are compared at once, 40 MB


def mask_outlines(mask):
    """Returns the outlines of a mask and of its holes, a list of `[N, 2]` (x, y) and whether each is a hole.

    Args:
        mask: `[H, W]` bool.
    """
    # At twice the size, the pixels on the border of a region tell on which side of them the edge is.
    doubled = np.kron(mask.astype("uint8"), np.ones((2, 2), "uint8"))
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour, (*_, parent) in zip(contours, [] if hierarchy is None else hierarchy[0], strict=True):
        edges = (contour[:, 0].astype("int64") + 1) // 2
        found.append((_corners(edges), parent >= 0))
    return found


def polygons_with_holes(mask):
    """Returns the polygons of a mask, each a list of rings `[N, 2]` (x, y): its outline, and then its holes.

    Pixels that meet at a corner only belong to different polygons, so that no ring touches itself.

    Args:
        mask: `[H, W]` bool.
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
    """Returns the points of a closed line at which it turns, `[N, 2]`."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def join_rings(rings):
    """Returns one polygon `[N, 2]` that covers what an odd number of polygons covers.

    Each ring is connected to the others by a line that goes forth and back, so that it has no area.

    Args:
        rings: List of `[N, 2]`; the outlines of holes are among them.
    """
    joined, *rest = sorted(rings, key=len, reverse=True)
    for ring in rest:
        # Of long outlines, one point is connected where it is nearest: all pairs would take too much memory.
        ends = ring if len(joined) * len(ring) <= MAX_PAIRS else ring[:1]
        distances = ((joined[:, None] - ends[None]) ** 2).sum(axis=-1)
        at, first = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(ring, -first, axis=0)
        joined = np.concatenate([joined[: at + 1], turned, turned[:1], joined[at:]])
    return joined


def single_polygon(segmentation, size):
    """Returns one polygon `[N, 2]` (x, y) of a segmentation, for formats in which an object has no parts.

    Args:
        segmentation: Polygons or run lengths as in COCO.
        size: (height, width) of the image.
    """
    if isinstance(segmentation, list) and len(segmentation) == 1:
        return np.reshape(segmentation[0], (-1, 2))
    # Parts may overlap, so that only their pixels tell what one polygon must cover.
    crop, (y, x) = mask_crop(segmentation, size)
    if not crop.size:  # parts so thin that they cover the center of no pixel
        return np.reshape(max(segmentation, key=len), (-1, 2))
    return join_rings([ring for ring, _ in mask_outlines(crop)]) + (x, y)
