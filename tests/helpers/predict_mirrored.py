"""`predict_mirrored.py FILE`: detects in five images with one and with two replicas on logical CPUs.

Writes JSON: `{"single": [...], "mirrored": [...]}` with `class_ids`, `scores` and `boxes` for each image, and
`"batch_size"`, the default for two replicas.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from training_run import TINY  # noqa: E402

from mask_rcnn.model import build_parts  # noqa: E402
from mask_rcnn.prediction.predict import Predictor  # noqa: E402
from mask_rcnn.structures import Category  # noqa: E402
from mask_rcnn.training.distribution import make_strategy  # noqa: E402

CATEGORIES = tuple(Category(number, str(number)) for number in (1, 2, 3))


def detect(predictor, images):
    names = ("class_ids", "scores", "boxes")
    found = [detections for _, detections in predictor.predict_many(images)]
    return [{name: getattr(detections, name).tolist() for name in names} for detections in found]


if __name__ == "__main__":
    with make_strategy("mirrored", 2).scope():
        mirrored = Predictor(build_parts(TINY), TINY, CATEGORIES)
    single = Predictor(build_parts(TINY), TINY, CATEGORIES)
    for name, part in single.parts.named().items():
        part.set_weights(mirrored.parts.named()[name].get_weights())
    images = np.random.default_rng(0).integers(0, 256, [5, 64, 64, 3]).astype("uint8")
    results = {
        "single": detect(single, images),
        "mirrored": detect(mirrored, images),  # the last batch has one image only
        "batch_size": mirrored.default_batch_size(),
    }
    Path(sys.argv[1]).write_text(json.dumps(results))
