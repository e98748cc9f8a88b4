"""`training_mirrored.py FILE`: the same ten steps of the toy on one and on two logical devices.

It is a script because TensorFlow's devices cannot be split after its first use. Writes JSON: for each case
the largest difference of a weight, and the logs of both runs and of an evaluation after each.
"""

import json
import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

import training_toy  # noqa: E402

from mask_rcnn.ops.roi_align import roi_align  # noqa: E402
from mask_rcnn.training.distribution import make_strategy  # noqa: E402
from mask_rcnn.training.optimizer import CoupledSGD, LossScale  # noqa: E402

CASES = {
    "plain": {},
    "each image": {"loss_normalization": "image"},
    "clipped": {"clip_norm": 0.5},
    "averaged": {"ema_decay": 0.9, "schedule": "cosine"},
    "float16": {"precision": "mixed_float16", "clip_norm": 0.5},
    "bfloat16": {"precision": "mixed_bfloat16", "clip_norm": 0.5},
}


def train(strategy, changes):
    batches = training_toy.make_batches(steps=10)
    with make_strategy(strategy, training_toy.RECIPE.batch_size).scope():
        trainer = training_toy.make_trainer(**changes)
    start = [np.asarray(variable) for variable in trainer.trainable_variables]
    history = trainer.fit(batches.map(spread), shuffle=False, verbose=0).history
    end = [np.asarray(variable) for variable in trainer.trainable_variables]
    seven_images = batches.unbatch().take(7).batch(4)  # 2 + 2 and 2 + 1 for two replicas
    evaluation = trainer.evaluate(seven_images, verbose=0, return_dict=True)
    return start, end, [{name: values[-1] for name, values in history.items()}, evaluation]


def spread(batch):
    """Reduces the brightness of the second half of a batch, so that the replicas have different gradients."""
    brightness = tf.constant([1.0, 1.0, 0.1, 0.1])[:, None, None, None]
    return {**batch, "images": batch["images"] * brightness}


def distance(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def compare(changes):
    start, one, one_logs = train("none", changes)
    _, two, two_logs = train("mirrored", changes)
    return {
        "moved": distance(start, one),
        "difference": distance(one, two),
        "logs": [one_logs, two_logs],
    }


def overflow_in_the_second_replica():
    """Returns the weight and the loss scale after a step in which only replica 1 overflows."""
    strategy = make_strategy("mirrored", 2)
    with strategy.scope():
        weight = training_toy.keras.Variable([1.0], name="kernel")
        optimizer = LossScale(CoupledSGD(1.0), initial_scale=8.0)
        optimizer.build([weight])

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = tf.where(tf.equal(replica, 1), [np.inf], [1.0])
        optimizer.apply([tf.cast(gradient, tf.float32)], [weight])

    strategy.run(step)
    return float(np.asarray(weight)[0]), float(np.asarray(optimizer.dynamic_scale))


def accumulated():
    """Compares two replicas with two micro-batches each to one replica with one batch."""
    _, one, one_logs = train("none", {})
    _, two, two_logs = train("mirrored", {"accumulate": 2})
    return {"difference": distance(one, two), "logs": [one_logs, two_logs]}


def roi_gradients():
    """Returns the largest difference of the gradients of eight equal calls with overlapping boxes."""
    random = np.random.default_rng(0)
    boxes = np.sort(random.uniform(size=[512, 2, 2]), axis=1).reshape(-1, 4).astype("float32")
    gradients = random.normal(size=[512, 14, 14, 64]).astype("float32")
    features = tf.zeros([1, 50, 76, 64])

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = roi_align(
                features, boxes * [50, 76, 50, 76], np.zeros(512, "int32"), scale=1.0, pool_size=14
            )
        return tape.gradient(pooled, features, tf.constant(gradients)).numpy()

    sums = [gradient() for _ in range(8)]
    return max(distance(sums[:1], [other]) for other in sums)


if __name__ == "__main__":
    results = {name: compare(changes) for name, changes in CASES.items()}
    results["accumulated"] = accumulated()
    results["roi_gradients"] = roi_gradients()
    results["overflow"] = overflow_in_the_second_replica()
    try:
        make_strategy("mirrored", 3)
    except ValueError as error:
        results["odd_batch"] = str(error)
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)
