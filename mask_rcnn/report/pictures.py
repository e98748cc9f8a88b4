"""Pictures of images with what is right and wrong in them."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.coco_results import mask_crop
from mask_rcnn.report.errors import KINDS, NO_ERROR
from mask_rcnn.visualize import draw_box, draw_mask

LONG_SIDE = 640  # pixels of a picture
BLANK = 64  # gray level of an image that is not there
# Okabe and Ito, "Color Universal Design" (2008): readers with any color vision can tell them apart.
COLORS = {
    "found": (0, 158, 115),
    "missed": (213, 94, 0),
    "localization": (240, 228, 66),
    "classification": (204, 121, 167),
    "duplicate": (86, 180, 233),
    "background": (255, 255, 255),
    "both": (0, 114, 178),
}


def draw_errors(pixels, evaluation, point, kinds, image, shapes):
    """Draws what is found, missed and wrong in an image.

    Args:
        pixels: `[H, W, 3]` uint8; it is not changed.
        evaluation: `Evaluation`.
        point: Its `OperatingPoint`.
        kinds: `[D]`, of `detection_errors`.
        image: Index of the image.
        shapes: `Shapes`, what is drawn.

    Returns:
        `[h, w, 3]` uint8, of at most `LONG_SIDE` pixels.
    """
    drawn = [
        (COLORS["found" if kinds[row] == NO_ERROR else KINDS[kinds[row]]], shapes.detection(row))
        for row in np.flatnonzero((evaluation.images == image) & point.kept)
    ]
    drawn += [
        (COLORS["missed"], shapes.object(row))
        for row in np.flatnonzero((evaluation.object_images == image) & point.missed)
    ]
    canvas = np.ascontiguousarray(pixels).copy()
    for color, shape in sorted(drawn, key=lambda each: -each[1]["size"]):  # large ones first
        if shape["mask"] is None:
            draw_box(canvas, shape["box"], color, 1.0)
        else:
            draw_mask(canvas, *shape["mask"], color)
    return _resized(canvas)


class Shapes:
    """The masks or boxes of the detections and objects of an `Evaluation`.

    Args:
        evaluation: `Evaluation`. Masks are drawn if it compared them.
        content, entries, image_ids: What was evaluated, as in `evaluate_images`.
    """

    def __init__(self, evaluation, content, entries, image_ids):
        self.evaluation, self.content, self.entries = evaluation, content, entries
        sizes = {image["id"]: (image["height"], image["width"]) for image in content.images}
        self.sizes = [sizes[id] for id in image_ids]
        self.has_masks = evaluation.iou_type in ("segm", "boundary")

    def detection(self, row):
        """Returns `box` (yxyx), `mask` (crop and origin, or None) and `size` in pixels of a detection."""
        entry = self.entries[self.evaluation.entries[row]]
        return self._shape(entry, self.sizes[self.evaluation.images[row]])

    def object(self, row):
        """Returns the same of an object."""
        annotation = self.content.annotations[int(self.evaluation.annotations[row])]
        return self._shape(annotation, self.sizes[self.evaluation.object_images[row]])

    def _shape(self, each, size):
        mask = None
        if self.has_masks and each["segmentation"]:
            mask = mask_crop(each["segmentation"], size)
        x, y, width, height = each["bbox"] if "bbox" in each else coco_mask.toBbox(each["segmentation"])
        return {"box": (y, x, y + height, x + width), "mask": mask, "size": width * height}


def blank_image(size):
    """Returns a gray image, `[H, W, 3]` uint8.

    Args:
        size: (height, width).
    """
    return np.full((*size, 3), BLANK, "uint8")


def _resized(pixels):
    scale = LONG_SIDE / max(pixels.shape[:2])
    size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
