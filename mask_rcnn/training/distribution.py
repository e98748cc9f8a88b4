"""One device or all of them, and sums that do not depend on who comes first."""

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


def exact_gradients():
    """Makes TensorFlow's gradient of `crop_and_resize`, that is of RoIAlign, right on CPUs.

    Its threads add to the same pixels without a lock and lose sums: with 512 boxes on a 50 x 76 map and
    two cores up to a fifth of the largest value, another one in each call (TensorFlow 2.21). With
    deterministic ops it uses one thread, which took no longer. GPUs add atomically, and have no
    deterministic kernel.
    """
    if not tf.config.list_logical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
