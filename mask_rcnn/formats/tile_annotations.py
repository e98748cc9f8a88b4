"""Cuts the annotation of an object at the borders of tiles."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.masks import encode_mask, mask_extent, mask_in_window
from mask_rcnn.data.segmentations import mask_window


def cut_annotation(
    annotation: dict, windows: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[int, float, dict]]:
    """Cuts an object exactly at the borders of tiles.

    Args:
        annotation: Annotation of a COCO JSON that was checked.
        windows: `[T, 4]` int, yxyx, the tiles.
        size: (height, width) of the image, pixels.

    Yields:
        (index, fraction, annotation) for each window that contains a pixel of the object: the index of the
        window, the fraction of the object's pixels in it, and the annotation in pixels of the tile.
    """
    x, y, width, height = annotation["bbox"]
    box = np.array([y, x, y + height, x + width])
    segmentation = annotation.get("segmentation")
    # Drawn in the whole image: pycocotools rounds coordinates, so shifted polygons can differ by a pixel.
    runs = _as_runs(segmentation, size) if segmentation else None
    pixels = mask_window(runs, size) if runs else box
    extents = [box, pixels, mask_window(segmentation, size)] if segmentation else [box]
    first, last = np.min(extents, axis=0)[:2], np.max(extents, axis=0)[2:]
    if segmentation and not (pixels[2:] > pixels[:2]).all():  # too thin to contain a pixel
        pixels = np.concatenate([first, last])
    fields: dict[str, Any]
    mask = None
    for number in np.flatnonzero((windows[:, :2] < pixels[2:]).all(1) & (windows[:, 2:] > pixels[:2]).all(1)):
        window = windows[number]
        if (window[:2] <= first).all() and (window[2:] >= last).all():
            fraction, fields = 1.0, {"bbox": [x - window[1], y - window[0], width, height]}
            if segmentation:
                fields["segmentation"] = _moved(segmentation, pixels, window)
        elif runs:
            pixels = np.round(pixels).astype(int)
            mask = mask_in_window(runs, pixels) if mask is None else mask
            fraction, fields = _cut_mask(mask, pixels, window)
        else:
            fraction, fields = _cut_box(box, window)
        if fraction:
            keypoints = _keypoints(annotation, window)
            yield int(number), fraction, {**annotation, **_plain(fields), **keypoints}


def _as_runs(segmentation, size):
    """Converts a checked segmentation to an RLE of the image, `{"size": [H, W], "counts": str}`."""
    if isinstance(segmentation, dict):
        return segmentation
    merged = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    counts: Any = merged["counts"]  # bytes; the stubs say str
    return {"size": list(size), "counts": counts.decode("ascii")}


def _cut_mask(mask, pixels, window):
    """Returns the fraction of a mask in a tile, and the annotation fields of that part.

    Args:
        mask: `[h, w]` bool.
        pixels: `[4]` int, yxyx, the window of the mask in the image.
        window: `[4]` int, yxyx, the tile.
    """
    y1, x1 = first = np.maximum(pixels[:2], window[:2])
    y2, x2 = np.minimum(pixels[2:], window[2:])
    part = mask[y1 - pixels[0] : y2 - pixels[0], x1 - pixels[1] : x2 - pixels[1]]
    area = np.count_nonzero(part)
    if not area:
        return 0.0, {}
    top, left, bottom, right = mask_extent(part) + np.tile(first - window[:2], 2)
    fields = {"bbox": [left, top, right - left, bottom - top], "area": area}
    fields["segmentation"] = _encoded(part, first, window)
    return area / np.count_nonzero(mask), fields


def _cut_box(box, window):
    """Returns the fraction of a box in a tile, and the annotation fields of that part."""
    top, left = np.maximum(box[:2], window[:2]) - window[:2]
    bottom, right = np.minimum(box[2:], window[2:]) - window[:2]
    area = (bottom - top) * (right - left)
    fields = {"bbox": [left, top, right - left, bottom - top], "area": area}
    return area / np.prod(box[2:] - box[:2]), fields


def _moved(segmentation, pixels, window):
    """Converts a segmentation inside a window from pixels of the image to pixels of the window."""
    if isinstance(segmentation, dict):
        return _encoded(mask_in_window(segmentation, pixels), pixels, window)
    return [(np.reshape(each, (-1, 2)) - window[1::-1]).ravel().tolist() for each in segmentation]


def _encoded(mask, pixels, window):
    """Returns the RLE in `window` of a mask, `[h, w]`, whose window in the image is `pixels`."""
    return encode_mask(mask, (pixels[:2] - window[:2]).tolist(), (window[2:] - window[:2]).tolist())


def _keypoints(annotation, window):
    """Returns the fields `keypoints` and `num_keypoints` of an annotation in a window, or {} without any."""
    if not annotation.get("keypoints"):
        return {}
    points = np.reshape(annotation["keypoints"], (-1, 3)) - (window[1], window[0], 0)
    sides = window[:1:-1] - window[1::-1]
    is_known = (points[:, 2] > 0) & (points[:, :2] >= 0).all(1) & (points[:, :2] < sides).all(1)
    points[~is_known] = 0
    return {"keypoints": points.ravel().tolist(), "num_keypoints": int(is_known.sum())}


def _plain(fields):
    """Converts the NumPy values of fields to Python numbers and lists, for JSON."""
    return {
        name: value if name == "segmentation" else np.asarray(value).tolist()
        for name, value in fields.items()
    }
