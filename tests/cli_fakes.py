"""The command in this process, with a model that always finds the same."""

import cv2
import numpy as np
import pytest

from mask_rcnn.cli.main import main
from mask_rcnn.model_zoo import config
from mask_rcnn.structures import Category, Detections

CATEGORIES = (Category(7, "apple"), Category(9, "pear"))


def run(*words):
    """Runs `mask-rcnn` in this process and returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", *map(str, words)])
    return stop.value.code


class FakePredictor:
    """Finds an apple with score 0.9 and a pear with score 0.2 in the upper left of every image."""

    categories = CATEGORIES
    config = config("mask_rcnn_lite0_fpn")

    @classmethod
    def load(cls, path, precision):
        return cls()

    def predict(self, image):
        image = cv2.imread(str(image)) if not isinstance(image, np.ndarray) else image
        return Detections(
            boxes=[[0, 0, 10, 20], [10, 0, 20, 20]],
            scores=[0.9, 0.2],
            class_ids=[1, 2],
            image_size=image.shape[:2],
            masks=[np.ones((10, 20), bool)] * 2,
            mask_origins=[[0, 0], [10, 0]],
        )


def write_image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((32, 48, 3), value, "uint8"))
    return path
