"""Chooses the devices and processes of a run: makes the `tf.distribute.Strategy` of a recipe."""

import json
import os

import tensorflow as tf

from mask_rcnn.config.ranges import short
from mask_rcnn.errors import short_message
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.processes import TRAINING_JOBS, run_context

CLUSTER = "TF_CONFIG"  # TensorFlow's environment variable with the addresses of all processes


def make_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """Returns the `tf.distribute.Strategy` for a value of `train.strategy`.

    Args:
        name: One of
            "auto": "multiworker" if `TF_CONFIG` lists more than one process. Otherwise "mirrored" on the
                largest number of GPUs that divides the batch size. Otherwise "none". It prints its choice if
                that is "multiworker" or if there are several GPUs.
            "none": One device.
            "mirrored": All GPUs of this machine, or all logical CPUs if there is no GPU.
            "multiworker": All GPUs of all processes of `TF_CONFIG`, or one CPU of each process. TensorFlow
                must not have run any operation before.
            "tpu": The TPU of this machine.
        batch_size: Number of images per step, over all replicas.

    Raises:
        ValueError: The batch size is not a multiple of the number of replicas, or the strategy cannot be
            made.
    """
    if name == "auto":
        strategy = _automatic(batch_size)
    elif name == "mirrored":
        strategy = tf.distribute.MirroredStrategy(_devices("GPU") or _devices("CPU"))
    elif name == "multiworker":
        strategy = _multiworker()
    elif name == "tpu":
        strategy = _tpu()
    else:
        strategy = tf.distribute.get_strategy()
    num_replicas = strategy.num_replicas_in_sync
    if batch_size % num_replicas:
        raise ValueError(
            "Every replica must get the same number of images, so that all images have the same weight. "
            f"Received: batch_size={batch_size}, {num_replicas} replicas. "
            f"Set `train.batch_size` to a multiple of {num_replicas}."
        )
    return strategy


def strategy_name(strategy: tf.distribute.Strategy) -> str:
    """Returns the `train.strategy` name of a `tf.distribute.Strategy`, "none" if it has no other."""
    classes = {
        "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "tpu": tf.distribute.TPUStrategy,
    }
    return next((name for name, cls in classes.items() if isinstance(strategy, cls)), "none")


def _automatic(batch_size: int) -> tf.distribute.Strategy:
    if len(_processes()) > 1:
        strategy = _multiworker()
        context = run_context(strategy)
        print_line(
            f"Strategy multiworker: process {context.rank} of {context.num_processes}, "
            f"{strategy.num_replicas_in_sync} replicas in all."
        )
        return strategy
    gpus = _devices("GPU")
    num_used = max((count for count in range(1, len(gpus) + 1) if batch_size % count == 0), default=0)
    if len(gpus) < 2:
        return tf.distribute.get_strategy()
    name = "mirrored" if num_used > 1 else "none"
    print_line(f"Strategy {name}: {num_used} of {len(gpus)} GPUs for batches of {batch_size}.")
    return tf.distribute.MirroredStrategy(gpus[:num_used]) if num_used > 1 else tf.distribute.get_strategy()


def _devices(device_type: str) -> list[str]:
    return [device.name for device in tf.config.list_logical_devices(device_type)]


def _processes() -> list[str]:
    """Returns the list of addresses of the training processes in `TF_CONFIG`; empty without `TF_CONFIG`."""
    text = os.environ.get(CLUSTER)
    if not text:
        return []
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        processes = [*cluster.get("chief", ()), *cluster.get("worker", ())]
        is_known = 0 <= int(task["index"]) < len(cluster[task["type"]]) and task["type"] in TRAINING_JOBS
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _cluster_error(text) from error
    if not is_known:
        raise _cluster_error(text)
    return processes


def _cluster_error(text: str) -> ValueError:
    return ValueError(
        f"{CLUSTER} must list the addresses of all processes and the index of this process, as in "
        '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}. '
        f"Received: {CLUSTER}={short(text)}. Correct it, or set `train.strategy` to another strategy."
    )


def _multiworker() -> tf.distribute.Strategy:
    if not _processes():
        raise ValueError(
            "`train.strategy` multiworker needs the addresses of all processes. "
            f"Received: no {CLUSTER} in the environment. Set it in each process, or set `train.strategy` to "
            "mirrored."
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "The processes of a run must find each other before TensorFlow computes anything. "
            f"Received: {short_message(error)}. Call `train` before any other TensorFlow operation."
        ) from error


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="local")
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(
            "`train.strategy` tpu needs a TPU on this machine. "
            f"Received: {short_message(error)}. Set `train.strategy` to auto."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
