"""Pictures of images with what is right and wrong in them."""

import cv2
import numpy as np

from mask_rcnn.coco_results import PIXEL_CENTRE, mask_crop
from mask_rcnn.data.results import box_of
from mask_rcnn.report.errors import KINDS, NO_ERROR
from mask_rcnn.visualize import BOX_OPACITY, draw_box, draw_keypoints, draw_mask

LONG_SIDE = 640  # pixels of a picture
BLANK = 64  # gray level of an image that is not there
BLACK = (0, 0, 0)
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
        if shape["mask"] is not None:
            draw_mask(canvas, *shape["mask"], color)
        else:
            draw_box(canvas, shape["box"], color, 1.0 if shape["keypoints"] is None else BOX_OPACITY)
        if shape["keypoints"] is not None:
            draw_keypoints(canvas, *shape["keypoints"], color, limb_colours=(BLACK, color))
    return _resized(canvas)


class Shapes:
    """The masks, keypoints or boxes of the detections and objects of an `Evaluation`.

    Args:
        evaluation: `Evaluation`. What it compared is drawn; keypoints with their boxes.
        content, entries, image_ids: What was evaluated, as in `evaluate_images`.
    """

    def __init__(self, evaluation, content, entries, image_ids):
        self.evaluation, self.content, self.entries = evaluation, content, entries
        sizes = content.sizes
        self.sizes = [sizes[id] for id in image_ids]
        self.has_masks = evaluation.iou_type in ("segm", "boundary")
        self.has_keypoints = evaluation.iou_type == "keypoints"
        self.skeletons = {category.id: category.skeleton for category in content.categories}

    def detection(self, row):
        """Returns what is drawn of a detection.

        Returns:
            A dict with `box` (yxyx), `mask` (crop and origin, or None), `keypoints` (`[J, 3]` and skeleton,
            or None), and `size` in pixels.
        """
        entry = self.entries[self.evaluation.entries[row]]
        return self._shape(entry, self.sizes[self.evaluation.images[row]])

    def object(self, row):
        """Returns the same of an object."""
        annotation = self.content.annotations[int(self.evaluation.annotations[row])]
        return self._shape(annotation, self.sizes[self.evaluation.object_images[row]])

    def _shape(self, each, size):
        mask, keypoints = None, None
        if self.has_masks and each["segmentation"]:
            mask = mask_crop(each["segmentation"], size)
        if self.has_keypoints and each["keypoints"]:
            points = np.reshape(each["keypoints"], (-1, 3)).astype("float32") + PIXEL_CENTRE
            keypoints = points, self.skeletons[each["category_id"]]
        x, y, width, height = box_of(each)
        box = (y, x, y + height, x + width)
        return {"box": box, "mask": mask, "keypoints": keypoints, "size": width * height}


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
