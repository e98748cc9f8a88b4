"""A fake model without errors, which detects regions of one color, and images of such regions."""

import cv2
import numpy as np
from cli_fakes import FakePredictor

from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.structures import Detections

TILING = Tiling(size=64, overlap=0.25)


class BlobPredictor(FakePredictor):
    """Detects each connected region of red value 1 or 2 exactly. The red value is the class.

    Args:
        smallest: Number of pixels. In images larger than a tile, it misses smaller regions, like a real
            model. Defaults to None.
    """

    def __init__(self, smallest=None):
        super().__init__()
        self.smallest, self.shapes = smallest, []

    def detect(self, image):
        self.shapes.append(image.shape[:2])
        return {"red": image[..., 0]}

    def postprocess(self, outputs, resize, score_threshold=0.0):
        boxes, classes, masks = [], [], []
        for class_id in (1, 2):
            count, regions = cv2.connectedComponents(np.uint8(outputs["red"] == class_id), connectivity=4)
            for region in range(1, count):
                mask = regions == region
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                boxes.append([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
                masks.append(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())
                classes.append(class_id)
        boxes = np.reshape(boxes, (-1, 4))
        scores = np.array([mask.size for mask in masks], "float32") / 1e6
        found = Detections(boxes, scores, classes, resize, masks=tuple(masks), mask_origins=boxes[:, :2])
        if self.smallest is not None and min(resize) > TILING.size:
            found = found.select(scores * 1e6 >= self.smallest)
        return found.select(np.argsort(-found.scores, kind="stable"))


def scene(seed=0, size=(150, 230), count=40, longest=40):
    """Returns an image of rectangles that do not touch, of red value 1 or 2."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3), "uint8")
    for _ in range(count):
        height, width = rng.integers(3, longest, 2)
        y, x = (rng.integers(1, size[axis] - side - 1) for axis, side in enumerate((height, width)))
        if not image[y - 1 : y + height + 1, x - 1 : x + width + 1].any():
            image[y : y + height, x : x + width] = rng.integers(1, 3)
    return image


def as_set(detections):
    return {
        (int(class_id), tuple(map(float, box)), detections.full_mask(i).tobytes())
        for i, (class_id, box) in enumerate(zip(detections.class_ids, detections.boxes, strict=True))
    }
