"""A model without a network, for tests of the server. The color of an image determines its detections."""

import io
import threading

import numpy as np
from PIL import Image

from mask_rcnn.config import Config
from mask_rcnn.export.runners.outputs import to_detections
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.serving.served_model import ServedModel
from mask_rcnn.structures import Category

POISON = 13  # a batch with an image `pixels(blue=POISON)` fails
CATEGORIES = (Category(4, "fig"), Category(9, "nut"))
MASK_SIDE = 4
RED, GREEN = 204, 0  # default color of `pixels`: a fig with score 0.8


class FakePredictor(ImagePredictor):
    """Detects one object: the left half of the image, with the score red / 255.

    Its class is 1 if green is even, else 2. With red 0 there is no object.

    Attributes:
        batches: List with the number of images of each batch.
        gate: Event that each batch waits for.
        entered: Semaphore that each batch releases when it begins.
    """

    def __init__(self):
        self.config, self.categories = Config(num_classes=2), CATEGORIES
        self.batches = []
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def preprocess(self, image):
        return image, image.shape[:2]

    def batch_key(self, image_size):
        return image_size

    def detect_batch(self, inputs):
        self.entered.release()
        assert self.gate.wait(20)
        if any(image[0, 0].tolist() == [RED, GREEN, POISON] for image in inputs):
            raise RuntimeError("poisoned")
        self.batches.append(len(inputs))
        return [_find(image) for image in inputs]

    def postprocess(self, outputs, resize, score_threshold=0.0):
        return to_detections(outputs, resize, paste="pixel_centers", score_threshold=score_threshold)


def _find(image):
    red, green, _ = image[0, 0].tolist()
    count, class_id = (1 if red else 0), 1 + green % 2
    return {
        "detection_boxes": np.array([[0, 0, 1, 0.5]] * count, "float32").reshape(-1, 4),
        "detection_scores": np.full(count, red / 255, "float32"),
        "detection_classes": np.full(count, class_id, "float32"),
        "detection_masks": np.ones((count, MASK_SIDE, MASK_SIDE), "float32"),
        "num_detections": np.float32(count),
    }


def _with_image_info(outputs, size):
    return {**outputs, "image_info": np.array([size, size, (1, 1), (0, 0)], "float32")}


def fake_model(predictor=None):
    """Returns a `ServedModel` with a `FakePredictor`, after `warm_up`."""
    model = ServedModel(predictor or FakePredictor(), "weights", _with_image_info)
    model.warm_up()
    model.predictor.batches.clear()
    while model.predictor.entered.acquire(blocking=False):
        pass
    return model


def pixels(red=RED, green=GREEN, blue=0, size=(6, 8)):
    """Returns an image of one color, `[H, W, 3]` uint8."""
    return np.full((*size, 3), (red, green, blue), "uint8")


def png(**color):
    """Returns the bytes of `pixels` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels(**color)).save(file, "PNG")
    return file.getvalue()
