"""Distribution strategies: one device or all of them."""

import tensorflow as tf


def make_strategy(name, batch_size):
    """Returns the `tf.distribute.Strategy` of a recipe.

    Args:
        name: "none", or "mirrored" for all GPUs (all logical CPUs where there is no GPU).
        batch_size: images a step, over all replicas.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if batch_size % len(devices):
        raise ValueError(
            "Every replica must get the same number of images, or they would not count the same. "
            f"Received: batch_size={batch_size}, devices={[device.name for device in devices]}. "
            f"Set `train.batch_size` to a multiple of {len(devices)}."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])
