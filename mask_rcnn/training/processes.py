"""The processes of a run: which of them this one is, and what they tell each other."""

import contextlib
import json
import zlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mask_rcnn.errors import short_message

TRAINING_JOBS = ("chief", "worker")
WORD = 8  # bytes of an int64: the collectives of TensorFlow know no bytes
PIECE = 1 << 26  # bytes that each process sends at once: a device holds those of all processes


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
        return [_decoded(content) for content in self._gather_bytes(_encoded(value))]

    def gather_to_chief(self, value):
        """As `gather`, for large values: only the chief reads them, and the others get an empty list."""
        if self.num_processes == 1:
            return [value]
        contents = self._gather_bytes(_encoded(value))
        return [_decoded(content) for content in contents] if self.is_chief else []

    def agree(self, function):
        """Calls a function in each process; an error in one of them is raised in all.

        Args:
            function: Function without arguments. It must not call collectives.

        Returns:
            What it returned in this process.

        Raises:
            Exception: What it raised in this process.
            ValueError: It failed in other processes; the message says in which, and why.
        """
        if self.num_processes == 1:
            return function()
        result = error = None
        try:
            result = function()
        except Exception as each:
            error = each
        reasons = self.gather(error and _reason(error))
        if error is not None:
            raise error
        failed = [f"process {rank}: {reason}" for rank, reason in enumerate(reasons) if reason]
        if failed:
            raise ValueError(
                f"All {self.num_processes} processes must do their part. Received: {'; '.join(failed)} "
                "The output of that process says more."
            )
        return result

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

    def _gather_bytes(self, content):
        """Returns the bytes of each process, a list in the order of their ranks."""
        lengths = np.array(self.gather_numbers(len(content)))
        contents = [bytearray() for _ in lengths]
        for start in range(0, lengths.max(), PIECE):
            piece = content[start : start + PIECE]
            words = np.frombuffer(piece + bytes(-len(piece) % WORD), "int64")
            gathered = self.strategy.gather(self._per_replica(words, words[:0]), axis=0).numpy()
            sizes = np.clip(lengths - start, 0, PIECE)
            ends = np.cumsum(-(-sizes // WORD))
            for each, part, size in zip(contents, np.split(gathered, ends[:-1]), sizes, strict=True):
                each += part.tobytes()[:size]
        return contents

    def _per_replica(self, values, others):
        """Returns `values` on the first replica of this process and `others` on the rest."""
        first = self.rank * self.strategy.num_replicas_in_sync // self.num_processes
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values if context.replica_id_in_sync_group == first else others)
        )


def _encoded(value):
    return zlib.compress(json.dumps(value).encode())


def _decoded(content):
    return json.loads(zlib.decompress(content))


def _reason(error):
    """Returns what other processes hear of an error. Errors of the library are sentences already."""
    is_sentence = isinstance(error, ValueError)
    return str(error) if is_sentence else f"{type(error).__name__}: {short_message(error)}."


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
