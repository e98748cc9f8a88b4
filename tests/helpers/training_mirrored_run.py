"""`training_mirrored_run.py FILE`: ten steps of the real model on one and on two logical devices.

Writes JSON: the largest difference of a weight, the largest change of one, and the objects per image.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from training_run import TINY  # noqa: E402

from mask_rcnn.data.input_pipeline.pipeline import training_dataset  # noqa: E402
from mask_rcnn.training.distribution import make_strategy  # noqa: E402
from mask_rcnn.training.mask_rcnn import MaskRCNN  # noqa: E402
from mask_rcnn.training.training_data import read_training_data  # noqa: E402

# The pyramid normalizes over the images of both replicas, and the heads over the RoIs of both.
NORM = {"convs": 1, "norm": "sync_batch_norm"}
CONFIG = dataclasses.replace(
    TINY,
    fpn=dataclasses.replace(TINY.fpn, norm="sync_batch_norm"),
    box_head=dataclasses.replace(TINY.box_head, conv_channels=8, **NORM),
    mask_head=dataclasses.replace(TINY.mask_head, **NORM),
)


def train(strategy, batches):
    keras.utils.set_random_seed(0)
    with make_strategy(strategy, CONFIG.train.batch_size).scope():
        model = MaskRCNN(CONFIG)
    model.load_initial_weights()
    start = [np.asarray(variable) for variable in model.variables]
    model.fit(batches, shuffle=False, verbose=0)
    return start, [np.asarray(variable) for variable in model.variables]


def distance(one, other):
    """Returns the largest difference. It is relative for values above 1, such as variances."""
    pairs = zip(one, other, strict=True)
    return max(float((np.abs(a - b) / np.maximum(np.abs(b), 1.0)).max()) for a, b in pairs)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        dataset, *_ = read_training_data(CONFIG, Path(folder))
        batches = training_dataset(dataset, CONFIG)
        start, one = train("none", batches)
        _, two = train("mirrored", batches)
        num_objects = [int(count) for count in np.sum(next(iter(batches))["gt_class_ids"] > 0, axis=1)]
    results = {"difference": distance(one, two), "moved": distance(start, one), "num_objects": num_objects}
    Path(sys.argv[1]).write_text(json.dumps(results))
