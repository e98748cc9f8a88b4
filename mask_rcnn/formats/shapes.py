"""Converts the shapes of annotation tools to COCO polygons and run-length encodings (RLE).

Coordinates are (x, y) in pixels. The pixel (y, x) covers the square from (x, y) to (x + 1, y + 1).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.segmentations import read_run_lengths, read_segmentation
from mask_rcnn.formats.registry import FoundObject, Source

Pair = tuple[float, float] | np.ndarray  # (x, y)
MAX_SAGITTA = 0.05  # pixels, maximum distance of an arc and the polygon side that approximates it
MAX_CORNERS = 720  # of the polygon of an ellipse


def rectangle(origin: Pair, size: Pair, *, degrees: float = 0.0, pivot: Pair | None = None) -> np.ndarray:
    """Returns the corners of a rectangle, `[4, 2]` float64, (x, y).

    Args:
        origin: (x, y) of the upper left corner before the rotation, pixels.
        size: (width, height), pixels.
        degrees: Rotation in degrees, clockwise in the image. Defaults to 0.
        pivot: (x, y) of the center of rotation. Defaults to None, the center of the rectangle.
    """
    (x, y), (width, height) = origin, size
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], "float64")
    return _rotated(corners, degrees, corners.mean(axis=0) if pivot is None else pivot)


def ellipse(center: Pair, radii: Pair, *, degrees: float = 0.0) -> np.ndarray:
    """Returns a polygon that approximates an ellipse, `[N, 2]` float64, (x, y).

    Args:
        center: (x, y), pixels.
        radii: (x, y) radii before the rotation, pixels.
        degrees: Rotation in degrees, clockwise in the image. Defaults to 0.
    """
    (x, y), (radius_x, radius_y) = center, radii
    radius = max(radius_x, radius_y, 1.0)
    # A multiple of 4, so that corners lie at the extreme points of both axes.
    num_corners = 4 * math.ceil(math.pi / math.acos(1 - MAX_SAGITTA / radius) / 4)
    angles = np.linspace(0, 2 * math.pi, min(max(num_corners, 16), MAX_CORNERS), endpoint=False)
    points = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)
    return _rotated(points, degrees, (x, y))


def _rotated(points, degrees, pivot):
    if not degrees:
        return points
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (points - pivot) @ np.array([(cosine, sine), (-sine, cosine)]) + pivot


def object_of_shapes(
    class_name: str,
    masks: Sequence[np.ndarray | dict],
    boxes: Sequence[np.ndarray],
    *,
    size: tuple[int, int],
    source: Source,
    where: str,
    crowd: bool = False,
) -> FoundObject:
    """Returns the `FoundObject` of an object that may consist of several parts.

    Args:
        class_name: Name of the class.
        masks: List of the parts with an outline. Each is `[N, 2]` points, (x, y), or an RLE of the whole
            image, `{"size", "counts"}`.
        boxes: List of rectangles, `[4, 2]` corners each. They become part of the mask if `masks` is not empty
            or `source.boxes_as_masks` is true. Otherwise the object has a box and no mask.
        size: (height, width) of the image, pixels.
        source: `Source`.
        where: Name of the object, for messages.
        crowd: Whether the object is a crowd region. Defaults to False.
    """
    if boxes and not masks and not source.boxes_as_masks:
        corners = np.concatenate(boxes)
        source.findings.repair(
            "rectangles have become boxes without a mask (`--boxes-as-masks` makes them masks)", where
        )
        (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
        return FoundObject(class_name=class_name, box=(x1, y1, x2, y2), crowd=crowd)
    parts = [*masks, *boxes]
    if any(isinstance(part, dict) for part in parts):
        segmentation = _union(parts, size, where, findings=source.findings)
    else:
        segmentation = [np.ravel(part).tolist() for part in parts]
    return FoundObject(class_name=class_name, segmentation=segmentation, crowd=crowd)


def _union(parts, size, where, *, findings):
    """Returns the RLE of the union of polygons and RLEs."""
    masks = []
    for part in parts:
        if isinstance(part, dict):
            masks.append(read_run_lengths(part, size, where=where, findings=findings)[0])
        else:
            polygons = read_segmentation([np.ravel(part).tolist()], size, where=where, findings=findings)
            outline: Any = polygons  # the stubs have a private type
            masks += coco_mask.frPyObjects(outline, *size) if polygons else []
    if len(masks) == 1:
        return masks[0]
    merged = coco_mask.merge([_compressed(mask) for mask in masks])
    counts: Any = merged["counts"]  # bytes; the stubs say str
    return {"size": list(size), "counts": counts.decode("ascii")}


def _compressed(mask):
    return mask if isinstance(mask["counts"], str | bytes) else coco_mask.frPyObjects(mask, *mask["size"])
