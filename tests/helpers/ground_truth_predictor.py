"""A model that detects the annotated objects, and damaged image files for it."""

import dataclasses
import zlib

from training_run import TINY

from mask_rcnn.config import DataConfig
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.evaluation.coco_results import from_record
from mask_rcnn.prediction.image_predictor import ImagePredictor


class GroundTruthPredictor(ImagePredictor):
    """Returns the annotated objects of a data set's images as detections."""

    def __init__(self, dataset, max_bad_images):
        self.records = {_checksum(read_image(image.path)): image for image in dataset.images}
        self.categories = dataset.categories
        self.config = dataclasses.replace(TINY, data=DataConfig(max_bad_images=max_bad_images))

    def preprocess(self, image):
        return image, None

    def batch_key(self, image_size):
        return image_size

    def detect_batch(self, inputs):
        return [self.records[_checksum(image)] for image in inputs]

    def postprocess(self, outputs, resize, score_threshold=0.0):
        return from_record(outputs)


def _checksum(image):
    return zlib.crc32(image.tobytes())


def damage(record):
    """Truncates an image file after the data set was read."""
    content = record.path.read_bytes()
    record.path.write_bytes(content[: len(content) // 2])
