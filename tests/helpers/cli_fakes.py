"""Runs commands in this process, with a fake model whose detections are always the same."""

import cv2
import numpy as np
import pytest

from mask_rcnn.cli.main import main
from mask_rcnn.model_zoo import config
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.structures import Category, Detections

CATEGORIES = (Category(7, "apple"), Category(9, "pear"))


def run(*words):
    """Runs `mask-rcnn` in this process and returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", *map(str, words)])
    return stop.value.code


class FakePredictor(ImagePredictor):
    """Detects an apple with score 0.9 and a pear with score 0.2 in the upper left of every image."""

    categories = CATEGORIES

    def __init__(self):
        self.config = config("mask_rcnn_lite0_fpn")

    @classmethod
    def load(cls, path, precision):
        return cls()

    def preprocess(self, image):
        return image, image.shape[:2]

    def batch_key(self, image_size):
        return image_size

    def detect_batch(self, inputs):
        return [self.detect(image) for image in inputs]

    def detect(self, image):
        """Returns the outputs for one image. Tests replace this method."""
        return {"scores": np.array([0.9, 0.2], "float32")}

    def postprocess(self, outputs, resize, score_threshold=0.0):
        found = Detections(
            boxes=[[0, 0, 10, 20], [10, 0, 20, 20]],
            scores=outputs["scores"],
            class_ids=[1, 2],
            image_size=resize,
            masks=[np.ones((10, 20), bool)] * 2,
            mask_origins=[[0, 0], [10, 0]],
        )
        return found.select(found.scores >= score_threshold)


def write_image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((32, 48, 3), value, "uint8"))
    return path
