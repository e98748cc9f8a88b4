"""Which devices and processes a run uses."""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class RunContext:
    """The processes of a run, and which of them this one is.

    Args:
        strategy: The `tf.distribute.Strategy`.
        rank: Number of this process, from 0. Defaults to 0.
        num_processes: Number of the processes. Defaults to 1.
    """

    strategy: tf.distribute.Strategy
    rank: int = 0
    num_processes: int = 1

    @property
    def is_chief(self):
        """Whether this process writes checkpoints, logs and results. The others write nothing."""
        return self.rank == 0


def run_context(strategy):
    """Returns the `RunContext` of a `tf.distribute.Strategy`: one process, unless it has a cluster."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    num_chiefs, num_workers = (len(cluster.get(job, ())) for job in ("chief", "worker"))
    if not num_chiefs + num_workers:
        return RunContext(strategy)
    rank = resolver.task_id + (num_chiefs if resolver.task_type == "worker" else 0)
    return RunContext(strategy, rank, num_chiefs + num_workers)


def make_strategy(name, batch_size):
    """Returns the `tf.distribute.Strategy` of a recipe.

    Args:
        name: "none", or "mirrored" for all GPUs (all logical CPUs where there is no GPU).
        batch_size: Images of a step, over all replicas.
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
