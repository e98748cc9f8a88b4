"""`training_mirrored_run.py FILE`: ten steps of the real model on one and on two logical devices.

Writes JSON: the largest difference of a weight, how far one moved, and the objects in each image of a batch.
"""

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

from mask_rcnn.data.pipeline import training_dataset  # noqa: E402
from mask_rcnn.model import build_parts, training_model  # noqa: E402
from mask_rcnn.model_zoo.backbones import load_backbone  # noqa: E402
from mask_rcnn.training.distribution import exact_gradients, make_strategy  # noqa: E402
from mask_rcnn.training.optimizer import build_optimizer  # noqa: E402
from mask_rcnn.training.sources import read_training_data  # noqa: E402
from mask_rcnn.training.trainer import Trainer  # noqa: E402


def train(strategy, batches):
    keras.utils.set_random_seed(0)
    with make_strategy(strategy, TINY.train.batch_size).scope():
        parts = build_parts(TINY)
        load_backbone(parts.backbone, TINY.backbone.name, TINY.backbone.weights)
        model = training_model(parts, TINY)
        trainer = Trainer(model.input, model.output, TINY.train.loss_normalization)
        trainer.compile(optimizer=build_optimizer(TINY.train), jit_compile=False)
    start = [np.asarray(variable) for variable in trainer.variables]
    trainer.fit(batches, shuffle=False, verbose=0)
    return start, [np.asarray(variable) for variable in trainer.variables]


def distance(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    exact_gradients()
    with tempfile.TemporaryDirectory() as folder:
        dataset, *_ = read_training_data(TINY, Path(folder))
        batches = training_dataset(dataset, TINY)
        start, one = train("none", batches)
        _, two = train("mirrored", batches)
        num_objects = [int(count) for count in np.sum(next(iter(batches))["gt_class_ids"] > 0, axis=1)]
    results = {"difference": distance(one, two), "moved": distance(start, one), "num_objects": num_objects}
    Path(sys.argv[1]).write_text(json.dumps(results))
