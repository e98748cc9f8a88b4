"""Draws images with found, missed and wrong detections."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.readers.results import box_of
from mask_rcnn.evaluation.coco_results import PIXEL_CENTER, mask_crop
from mask_rcnn.report.detection_matches import DetectionMatches
from mask_rcnn.report.errors import ERROR_TYPES, NO_ERROR
from mask_rcnn.report.operating_point import OperatingPoint
from mask_rcnn.visualization.drawing import BOX_OPACITY, draw_box, draw_keypoints, draw_mask

LONG_SIDE = 640  # long side of a picture, in pixels
BLANK = 64  # gray level of the picture of an image that is not available
BLACK = (0, 0, 0)
# Okabe and Ito, "Color Universal Design" (2008): distinguishable with any color vision.
COLORS = {
    "found": (0, 158, 115),
    "missed": (213, 94, 0),
    "localization": (240, 228, 66),
    "classification": (204, 121, 167),
    "duplicate": (86, 180, 233),
    "background": (255, 255, 255),
    "both": (0, 114, 178),
}


def draw_errors(
    pixels: np.ndarray,
    evaluation: DetectionMatches,
    point: OperatingPoint,
    *,
    kinds: np.ndarray,
    image: int,
    shapes: Shapes,
) -> np.ndarray:
    """Draws found and missed objects and wrong detections of an image.

    Args:
        pixels: `[H, W, 3]` uint8. It is not changed.
        evaluation: `DetectionMatches`.
        point: Its `OperatingPoint`.
        kinds: `[D]`, from `detection_errors`.
        image: Index of the image.
        shapes: `Shapes` of the evaluation.

    Returns:
        `[h, w, 3]` uint8 with a long side of `LONG_SIDE` pixels.
    """
    drawn = [
        (COLORS["found" if kinds[row] == NO_ERROR else ERROR_TYPES[kinds[row]]], shapes.detection(int(row)))
        for row in np.flatnonzero((evaluation.images == image) & point.kept)
    ]
    drawn += [
        (COLORS["missed"], shapes.object(int(row)))
        for row in np.flatnonzero((evaluation.object_images == image) & point.missed)
    ]
    canvas = np.ascontiguousarray(pixels).copy()
    for color, shape in sorted(drawn, key=lambda each: -each[1]["size"]):  # small shapes on top
        if shape["mask"] is not None:
            draw_mask(canvas, *shape["mask"], color=color)
        else:
            draw_box(
                canvas, shape["box"], color=color, opacity=1.0 if shape["keypoints"] is None else BOX_OPACITY
            )
        if shape["keypoints"] is not None:
            draw_keypoints(canvas, *shape["keypoints"], color=color, limb_colors=(BLACK, color))
    return _resized(canvas)


class Shapes:
    """The masks, keypoints or boxes of the detections and objects of a `DetectionMatches`.

    Args:
        evaluation: `DetectionMatches`. Its IoU type decides what is drawn: masks, boxes, or keypoints with
            boxes.
        content, entries, image_ids: As in `match_detections`.
    """

    def __init__(
        self,
        evaluation: DetectionMatches,
        content: CocoContent,
        entries: Sequence[dict],
        *,
        image_ids: Sequence[int | str],
    ):
        self.evaluation, self.content, self.entries = evaluation, content, entries
        sizes = content.sizes
        self.sizes = [sizes[id] for id in image_ids]
        self.has_masks = evaluation.iou_type in ("segm", "boundary")
        self.has_keypoints = evaluation.iou_type == "keypoints"
        self.skeletons = {category.id: category.skeleton for category in content.categories}

    def detection(self, row: int) -> dict:
        """Returns the shape of a detection.

        Returns:
            Dict with
            box: (y1, x1, y2, x2), pixels.
            mask: Crop and origin, or None.
            keypoints: `[J, 3]` and skeleton, or None.
            size: Area of the box, in square pixels.
        """
        entry = self.entries[self.evaluation.entries[row]]
        return self._shape(entry, self.sizes[self.evaluation.images[row]])

    def object(self, row: int) -> dict:
        """Returns the shape of an object, a dict as for `detection`."""
        annotation = self.content.annotations[int(self.evaluation.annotations[row])]
        return self._shape(annotation, self.sizes[self.evaluation.object_images[row]])

    def _shape(self, entry, size):
        mask, keypoints = None, None
        if self.has_masks and entry["segmentation"]:
            mask = mask_crop(entry["segmentation"], size)
        if self.has_keypoints and entry["keypoints"]:
            points = np.reshape(entry["keypoints"], (-1, 3)).astype("float32") + PIXEL_CENTER
            keypoints = points, self.skeletons[entry["category_id"]]
        x, y, width, height = box_of(entry)
        box = (y, x, y + height, x + width)
        return {"box": box, "mask": mask, "keypoints": keypoints, "size": width * height}


def blank_image(size: tuple[int, int]) -> np.ndarray:
    """Returns a gray image, `[H, W, 3]` uint8.

    Args:
        size: (height, width).
    """
    return np.full((*size, 3), BLANK, "uint8")


def _resized(pixels):
    scale = LONG_SIDE / max(pixels.shape[:2])
    size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
