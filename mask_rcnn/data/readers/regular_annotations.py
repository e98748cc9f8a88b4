"""Selects the regular annotations, which need no repair, refusal or report. It checks whole blocks.

The rules are those of `annotations.py` and `segmentations.py`. If rounding could change the result, an
annotation is not called regular, and the functions of these modules decide.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET

from mask_rcnn.data.annotation_table import AnnotationTable, as_floats, starts_of
from mask_rcnn.data.json_values import MAX_EXACT
from mask_rcnn.data.readers.annotations import TOLERANCE
from mask_rcnn.data.readers.federation import NEGATIVE
from mask_rcnn.data.segmentations import MAX_OUTLINE

MIN_DOUBLED_AREA = 1e-2  # twice the area of a polygon; ten times the limit for an empty polygon


class KnownImages:
    """Images and categories of a json as arrays.

    Args:
        images: `images` of the json.
        categories: `categories` of the json.
        known: {id: image} from `read_images`.

    Attributes:
        index: {image id: index}.
        sizes: `[I, 2]` float64 (height, width). 0 if the json has no size.
        num_keypoints: {category id: number of its keypoints}, or -1 if it is unclear.
        are_federated: Whether the file is from LVIS, whose annotations have no `iscrowd`.
    """

    def __init__(
        self, images: Sequence[Any], categories: Sequence[Any], known: Mapping[int | str, Mapping[str, Any]]
    ):
        self.are_federated = any(NEGATIVE in image for image in images if isinstance(image, dict))
        self.index = {id: index for index, id in enumerate(known)}
        sizes = [(image["height"] or 0, image["width"] or 0) for image in known.values()]
        self.sizes = np.array(sizes, "float64").reshape(-1, 2)
        self.num_keypoints = {}
        for category in categories:
            names, id = category.get("keypoints") or [], category.get("id")
            if type(id) is int and id not in self.num_keypoints:
                self.num_keypoints[id] = len(names) if isinstance(names, list) else -1


def is_well_formed(entry: Any, images: KnownImages) -> bool:
    """Returns whether a decoded annotation belongs to a known image and has regular keypoints.

    Args:
        entry: Object with the fields of a COCO annotation, of the usual types.
        images: `KnownImages`.
    """
    return (
        entry.image_id in images.index
        and entry.category_id in images.num_keypoints
        and (entry.iscrowd is not UNSET or images.are_federated)
        and (not entry.keypoints or _are_keypoints_regular(entry, images))
    )


def are_regular(table: AnnotationTable, sizes: np.ndarray) -> np.ndarray:
    """Returns which annotations of a table are regular, `[N]` bool.

    Args:
        table: `AnnotationTable` of well-formed annotations. Its polygons are in the order of the rows.
        sizes: `[I, 2]` float64 (height, width) of the images. 0 if unknown.
    """
    sizes = sizes[table.images]
    is_regular = (sizes > 0).all(axis=1) & (table.areas > 0) & (table.areas < MAX_EXACT)
    is_regular &= _are_boxes_regular(table.boxes, sizes)
    if len(table.polygon_lengths):
        is_regular &= _are_polygons_regular(table, sizes)
    return is_regular


def _are_boxes_regular(boxes, sizes):
    """Returns which boxes `[N, 4]`, (x, y, width, height), are inside their images of `sizes`, `[N, 2]`."""
    x, y, width, height = boxes.T
    image_height, image_width = sizes.T
    right, bottom = x + width, y + height
    inside = (np.minimum(right, image_width) > np.maximum(x, 0)) & (
        np.minimum(bottom, image_height) > np.maximum(y, 0)
    )
    reach = np.max([-x, -y, right - image_width, bottom - image_height], axis=0)
    is_fraction = (np.maximum(right, bottom) <= 1) & (np.minimum(width, height) < 1)
    usable = (np.abs(boxes) < MAX_EXACT).all(axis=1) & (np.minimum(width, height) > 0)
    return usable & inside & (reach <= 1) & ~is_fraction


def _are_keypoints_regular(entry, images):
    values = entry.keypoints
    return (
        len(values) == 3 * images.num_keypoints[entry.category_id]
        and max(map(abs, values)) < MAX_EXACT
        and set(values[2::3]) <= {0.0, 1.0, 2.0}
    )


def _are_polygons_regular(table, sizes):
    """Returns which annotations of a table have no polygons, or polygons that agree with their box."""
    owners = np.repeat(np.arange(len(table)), table.num_polygons)  # [P]
    lengths = table.polygon_lengths // 2  # [P] points
    points = np.clip(as_floats(table.numbers), -MAX_EXACT, MAX_EXACT).reshape(-1, 2)
    starts = starts_of(lengths)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)  # [P, 2] (x, y)

    limits = sizes[owners][:, ::-1]  # (width, height)
    is_usable = (low >= -limits).all(axis=1) & (high <= 2 * limits).all(axis=1)
    is_usable &= 2 * lengths * (high - low).max(axis=1) <= MAX_OUTLINE
    is_usable &= np.abs(_doubled_areas(points, starts, lengths)) > MIN_DOUBLED_AREA
    is_regular = np.ones(len(table), bool)
    is_regular[owners[~is_usable]] = False

    has_polygon = np.flatnonzero(table.num_polygons)
    firsts = table.polygon_starts[has_polygon]
    extent = np.hstack([np.minimum.reduceat(low, firsts), np.maximum.reduceat(high, firsts)])
    x, y, width, height = table.boxes[has_polygon].T
    corners = np.stack([x, y, x + width, y + height], axis=1)
    is_regular[has_polygon[(np.abs(corners - extent) > TOLERANCE).any(axis=1)]] = False
    return is_regular


def _doubled_areas(points, starts, lengths):
    """Returns twice the signed area of each polygon, `[P]`. `points` is `[V, 2]`."""
    x, y = (points - np.repeat(points[starts], lengths, axis=0)).T
    following = np.arange(1, len(points) + 1)
    following[starts + lengths - 1] = starts
    return np.add.reduceat(x * y[following] - x[following] * y, starts)
