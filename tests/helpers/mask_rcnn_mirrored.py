"""`mask_rcnn_mirrored.py FILE`: the same steps of the tiny model on one and on two logical devices.

It is a script because TensorFlow's devices cannot be split after its first use. The last batch has one image,
so the second replica gets none. Writes JSON.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

import tiny_model  # noqa: E402

import mask_rcnn  # noqa: E402

config = tiny_model.make_config()
batch = tiny_model.make_batch()
images = {name: np.concatenate([value, value, value[:1]]) for name, value in batch.items()}
images["seeds"] = np.stack([np.arange(5), np.zeros(5)], axis=1).astype("int32")


def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        # In float32, rounding differs between runs and can select the other one of two equal proposals.
        model = mask_rcnn.MaskRCNN(config, precision="float64")
        model.compile(keras.optimizers.SGD(0.01))
    start = model.get_weights()
    batches = tf.data.Dataset.from_tensor_slices(images).batch(2)
    history = model.fit(batches, validation_data=batches, shuffle=False, verbose=0).history
    return start, model.get_weights(), {name: values[-1] for name, values in history.items()}


def distance(one, other):
    return max(float(np.abs(a - b).max(initial=0)) for a, b in zip(one, other, strict=True))


start, one, one_logs = train(tf.distribute.get_strategy())
_, two, two_logs = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
results = {"moved": distance(start, one), "difference": distance(one, two), "logs": [one_logs, two_logs]}
with open(sys.argv[1], "w") as file:
    json.dump(results, file)
