"""Which devices and processes a run uses, and what its processes tell each other."""

import contextlib
import json
import os
import zlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mask_rcnn.config.ranges import short
from mask_rcnn.errors import short_message
from mask_rcnn.terminal import say

CLUSTER = "TF_CONFIG"  # the environment variable of TensorFlow with the addresses of all processes
TRAINING_JOBS = ("chief", "worker")
WORD = 8  # bytes of an int64: the collectives of TensorFlow know no bytes


@dataclass(frozen=True)
class RunContext:
    """The processes of a run, and which of them this one is.

    The methods are collectives: all processes must call them, in the same order.

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

    def gather_numbers(self, number):
        """Returns the int of each process, a list in the order of their ranks."""
        if self.num_processes == 1:
            return [number]
        numbers = np.zeros(self.num_processes, "int64")
        numbers[self.rank] = number
        # A graph takes half the time of an eager collective, and this comes after each step.
        return _sum_in_graph(self.strategy, self._per_replica(numbers, 0 * numbers)).numpy().tolist()

    def any(self, flag):
        """Returns whether a flag is true in any process."""
        return any(self.gather_numbers(int(flag)))

    def gather(self, value):
        """Returns the value of each process, a list in the order of their ranks.

        Args:
            value: Anything that json can write. It may differ in size between the processes.
        """
        if self.num_processes == 1:
            return [value]
        content = zlib.compress(json.dumps(value).encode())
        lengths = self.gather_numbers(len(content))
        words = np.frombuffer(content + bytes(-len(content) % WORD), "int64")
        gathered = self.strategy.gather(self._per_replica(words, words[:0]), axis=0).numpy()
        ends = np.cumsum([-(-length // WORD) for length in lengths])
        parts = zip(np.split(gathered, ends[:-1]), lengths, strict=True)
        return [json.loads(zlib.decompress(part.tobytes()[:length])) for part, length in parts]

    def copy_from_chief(self, variables):
        """Gives the variables of all processes the values that they have in the chief."""
        if self.num_processes == 1:
            return
        for variable in variables:
            value = np.asarray(variable)
            summed = value.astype("int64") if value.dtype.kind in "biu" else value
            zeros = np.zeros_like(summed)
            per_replica = self._per_replica(summed if self.is_chief else zeros, zeros)
            summed = self.strategy.reduce("SUM", per_replica, axis=None).numpy()
            variable.assign(summed.astype(value.dtype))

    def wait(self):
        """Returns when all processes have called it."""
        self.gather_numbers(0)

    def _per_replica(self, values, others):
        """Returns `values` on the first replica of this process and `others` on the rest."""
        first = self.rank * self.strategy.num_replicas_in_sync // self.num_processes
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values if context.replica_id_in_sync_group == first else others)
        )


@tf.function
def _sum_in_graph(strategy, per_replica):
    return strategy.reduce("SUM", per_replica, axis=None)


@contextlib.contextmanager
def all_processes(context):
    """A context that all processes of a run must live through; says so where another one has ended."""
    try:
        yield
    except tf.errors.UnavailableError as error:
        raise ValueError(
            f"All {context.num_processes} processes of a run must stay alive. "
            f"Received: {short_message(error)}. "
            "Look at the output of the others, then start all again with `--resume`."
        ) from error


def run_context(strategy):
    """Returns the `RunContext` of a `tf.distribute.Strategy`: one process, unless it has a cluster."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    num_chiefs, num_workers = (len(cluster.get(job, ())) for job in TRAINING_JOBS)
    if not num_chiefs + num_workers:
        return RunContext(strategy)
    rank = resolver.task_id + (num_chiefs if resolver.task_type == "worker" else 0)
    return RunContext(strategy, rank, num_chiefs + num_workers)


def make_strategy(name, batch_size):
    """Returns the `tf.distribute.Strategy` of a recipe.

    Args:
        name: One of
            "auto": "multiworker" if `TF_CONFIG` has more than one process; else "mirrored" over as many GPUs
            as divide the batch; else "none". It says what it chose, unless that is "none".
            "none": one device.
            "mirrored": all GPUs of this machine, or all logical CPUs where there is no GPU.
            "multiworker": all GPUs of all processes of `TF_CONFIG`, or one CPU of each. TensorFlow must not
            have computed anything before.
            "tpu": the TPU of this machine.
        batch_size: Images of a step, over all replicas.
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
            "Every replica must get the same number of images, or they would not count the same. "
            f"Received: batch_size={batch_size}, {num_replicas} replicas. "
            f"Set `train.batch_size` to a multiple of {num_replicas}."
        )
    return strategy


def strategy_name(strategy):
    """Returns the name of a strategy that `make_strategy` could have made."""
    kinds = {
        "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "tpu": tf.distribute.TPUStrategy,
    }
    return next((name for name, kind in kinds.items() if isinstance(strategy, kind)), "none")


def _automatic(batch_size):
    if len(_processes()) > 1:
        strategy = _multiworker()
        context = run_context(strategy)
        say(
            f"Strategy multiworker: process {context.rank} of {context.num_processes}, "
            f"{strategy.num_replicas_in_sync} replicas in all."
        )
        return strategy
    gpus = _devices("GPU")
    used = max((count for count in range(1, len(gpus) + 1) if batch_size % count == 0), default=0)
    if len(gpus) < 2:
        return tf.distribute.get_strategy()
    name = "mirrored" if used > 1 else "none"
    say(f"Strategy {name}: {used} of {len(gpus)} GPUs for batches of {batch_size}.")
    return tf.distribute.MirroredStrategy(gpus[:used]) if used > 1 else tf.distribute.get_strategy()


def _devices(kind):
    return [device.name for device in tf.config.list_logical_devices(kind)]


def _processes():
    """Returns the addresses of the processes of `TF_CONFIG` that train, a list; empty without `TF_CONFIG`."""
    text = os.environ.get(CLUSTER)
    if not text:
        return []
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        processes = [*cluster.get("chief", ()), *cluster.get("worker", ())]
        is_known = 0 <= int(task["index"]) < len(cluster[task["type"]]) and task["type"] in TRAINING_JOBS
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong_cluster(text) from error
    if not is_known:
        raise _wrong_cluster(text)
    return processes


def _wrong_cluster(text):
    return ValueError(
        f"{CLUSTER} must name the addresses of all processes, and which of them this one is, as in "
        '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}. '
        f"Received: {CLUSTER}={short(text)}. Correct it, or set `train.strategy` to another strategy."
    )


def _multiworker():
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
            f"Received: {short_message(error)}. Call `train` first of all."
        ) from error


def _tpu():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="local")
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(
            "`train.strategy` tpu needs a TPU on this machine. "
            f"Received: {short_message(error)}. Set `train.strategy` to auto."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
