"""Draws pictures of examples: an object with its surroundings, or two images side by side."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.image_io.rgb8 import to_rgb8
from mask_rcnn.data_check.report import Example
from mask_rcnn.evaluation.coco_results import from_record
from mask_rcnn.structures import Category
from mask_rcnn.visualization.drawing import draw

HEIGHT, MAX_WIDTH = 260, 520  # size of a picture, in pixels
MARGIN = 0.5  # on each side of an object, as a fraction of its longer side
MIN_MARGIN = 16  # pixels


def example_picture(example: Example, categories: Sequence[Category], config: Config) -> np.ndarray | None:
    """Returns the picture of an `Example`, `[H, W, 3]` uint8, or None if there is nothing to draw.

    Args:
        example: `Example`.
        categories: Tuple of `Category` of its data set.
        config: `Config` with the pixel format and limits of the image files.
    """
    parts = []
    for record, ids in example.drawn:
        try:
            pixels = read_image(
                record.path, config.input.bit_depth, config.data.max_pixels, **config.input.pixel_format
            )
        except (ValueError, OSError):  # another finding reports it
            return None
        parts.append(_scaled(_drawn(to_rgb8(pixels, config.input), record, ids=ids, categories=categories)))
    return np.concatenate(parts, axis=1) if parts else None


def _drawn(pixels, record, *, ids, categories):
    """Draws annotations on an image.

    With `ids`, only these annotations are drawn, on the part of the image around them. With None, all are
    drawn on the whole image.
    """
    chosen = [one for one in record.annotations if ids is None or one.id in ids]
    shown = tuple(dataclasses.replace(one, crowd=False, keypoints=None) for one in chosen)
    detections = from_record(dataclasses.replace(record, annotations=shown))
    if ids is not None and len(detections):
        top, left, bottom, right = _window(detections)
        pixels = pixels[top:bottom, left:right]
        moved: dict[str, Any] = {
            "boxes": detections.boxes - (top, left, top, left),
            "image_size": pixels.shape[:2],
        }
        if detections.mask_origins is not None:
            moved["mask_origins"] = detections.mask_origins - (top, left)
        detections = dataclasses.replace(detections, **moved)
    if ids is None or detections.masks is None:
        return draw(pixels, detections, categories, color_by="instance", labels=False)
    masks = draw(pixels, detections, categories, color_by="instance", boxes=False, labels=False)
    boxes = dataclasses.replace(detections, masks=None, mask_origins=None)  # boxes without masks are opaque
    return draw(masks, boxes, categories, color_by="instance", labels=False)


def _window(detections):
    """Returns the window (y1, x1, y2, x2) of an image around all its detections, in pixels."""
    boxes = [detections.boxes]
    if detections.masks is not None and detections.mask_origins is not None:
        origins = detections.mask_origins
        boxes.append(np.hstack([origins, origins + [mask.shape for mask in detections.masks]]))
    boxes = np.concatenate(boxes)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = max(MARGIN * float((high - low).max()), MIN_MARGIN)
    low = np.maximum(np.floor(low - margin), 0).astype(int)
    high = np.minimum(np.ceil(high + margin), detections.image_size).astype(int)
    return *low.tolist(), *high.tolist()


def _scaled(pixels):
    """Resizes a picture to `HEIGHT`, or less if it is wider than `MAX_WIDTH`, and pads it with white."""
    height, width = pixels.shape[:2]
    scale = min(HEIGHT / height, MAX_WIDTH / width)
    size = max(round(width * scale), 1), HEIGHT if scale == HEIGHT / height else max(round(height * scale), 1)
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    padding = HEIGHT - resized.shape[0]
    return np.pad(resized, ((padding // 2, padding - padding // 2), (0, 4), (0, 0)), constant_values=255)
