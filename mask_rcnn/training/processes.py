"""The processes of a distributed run: rank of this process, and communication between all of them."""

import contextlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.errors import short_message

T = TypeVar("T")

TRAINING_JOBS = ("chief", "worker")
WORD_BYTES = 8  # bytes of an int64: TensorFlow's collectives do not support uint8
CHUNK_BYTES = (
    1 << 26
)  # bytes that each process sends at once, because a device must hold those of all processes


@dataclass(frozen=True)
class RunContext:
    """The processes of a run, the rank of this process, and collective operations.

    The methods are collectives: all processes must call them in the same order.

    Args:
        strategy: The `tf.distribute.Strategy`.
        rank: Index of this process, from 0. Defaults to 0.
        num_processes: Number of processes. Defaults to 1.
    """

    strategy: tf.distribute.Strategy
    rank: int = 0
    num_processes: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and results. The other processes write nothing."""
        return self.rank == 0

    def gather_numbers(self, number: int) -> list[int]:
        """Returns the int of each process as a list, in rank order."""
        if self.num_processes == 1:
            return [number]
        numbers = np.zeros(self.num_processes, "int64")
        numbers[self.rank] = number
        # A graph takes half the time of an eager collective, and this runs after each step.
        return _sum_in_graph(self.strategy, self._per_replica(numbers, 0 * numbers)).numpy().tolist()

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is true in at least one process."""
        return any(self.gather_numbers(int(flag)))

    def gather(self, value: Any) -> list[Any]:
        """Returns the value of each process as a list, in rank order.

        Args:
            value: Any value that can be written as JSON. Its size may differ between the processes.
        """
        if self.num_processes == 1:
            return [value]
        return [_decoded(content) for content in self._gather_bytes(_encoded(value))]

    def gather_to_chief(self, value: Any) -> list[Any]:
        """As `gather`, for large values: the chief gets the list, the other processes an empty list."""
        if self.num_processes == 1:
            return [value]
        contents = self._gather_bytes(_encoded(value))
        return [_decoded(content) for content in contents] if self.is_chief else []

    def run_in_all_processes(self, function: Callable[[], T]) -> T:
        """Calls a function in each process. If it fails in one process, all processes raise an error.

        Args:
            function: Function without arguments. It must not call collectives.

        Returns:
            The result of the function in this process.

        Raises:
            Exception: The error of the function in this process.
            ValueError: The function failed only in other processes. The message says in which, and why.
        """
        if self.num_processes == 1:
            return function()
        try:
            result = function()
        except Exception as error:
            self.gather(_reason(error))
            raise
        reasons = self.gather(None)
        failed = [f"process {rank}: {reason}" for rank, reason in enumerate(reasons) if reason]
        if failed:
            raise ValueError(
                f"All {self.num_processes} processes must succeed. Received: {'; '.join(failed)} "
                "See the output of that process for details."
            )
        return result

    def copy_from_chief(self, variables: Iterable[keras.Variable]) -> None:
        """Sets the variables of all processes to their values in the chief.

        Args:
            variables: `keras.Variable`s, the same and in the same order in each process.
        """
        if self.num_processes == 1:
            return
        for variable in variables:
            value = np.asarray(variable)
            summand = value.astype("int64") if value.dtype.kind in "biu" else value
            zeros = np.zeros_like(summand)  # of all other replicas, so that the sum is the value of the chief
            per_replica = self._per_replica(summand if self.is_chief else zeros, zeros)
            total = self.strategy.reduce("SUM", per_replica, axis=None).numpy()
            variable.assign(total.astype(value.dtype))

    def wait(self) -> None:
        """Blocks until all processes have called it."""
        self.gather_numbers(0)

    def _gather_bytes(self, content: bytes) -> list[bytearray]:
        """Returns the bytes of each process as a list, in rank order."""
        lengths = np.array(self.gather_numbers(len(content)))
        contents = [bytearray() for _ in lengths]
        for start in range(0, int(lengths.max()), CHUNK_BYTES):
            chunk = content[start : start + CHUNK_BYTES]
            words = np.frombuffer(chunk + bytes(-len(chunk) % WORD_BYTES), "int64")
            gathered = self.strategy.gather(self._per_replica(words, words[:0]), axis=0).numpy()
            sizes = np.clip(lengths - start, 0, CHUNK_BYTES)
            ends = np.cumsum(-(-sizes // WORD_BYTES))
            for received, part, size in zip(contents, np.split(gathered, ends[:-1]), sizes, strict=True):
                received += part.tobytes()[:size]
        return contents

    def _per_replica(self, first_value: np.ndarray, other_value: np.ndarray) -> Any:
        """Returns a per-replica value: `first_value` on the first replica of this process, else another one.

        Args:
            first_value: Array for the first replica of this process.
            other_value: Array for all other replicas.
        """
        first = self.rank * self.strategy.num_replicas_in_sync // self.num_processes
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                first_value if context.replica_id_in_sync_group == first else other_value
            )
        )


def _encoded(value: Any) -> bytes:
    return zlib.compress(json.dumps(value).encode())


def _decoded(content: bytes | bytearray) -> Any:
    return json.loads(zlib.decompress(content))


def _reason(error: Exception) -> str:
    """Returns the text of an error for the other processes.

    Messages of ValueErrors from this package are complete sentences, so they are used unchanged.
    """
    is_sentence = isinstance(error, ValueError)
    return str(error) if is_sentence else f"{type(error).__name__}: {short_message(error)}."


@tf.function
def _sum_in_graph(strategy: tf.distribute.Strategy, per_replica: Any) -> tf.Tensor:
    return strategy.reduce("SUM", per_replica, axis=None)


@contextlib.contextmanager
def report_lost_process(context: RunContext) -> Iterator[None]:
    """Context manager for the whole run that raises a clear error if another process has ended.

    Args:
        context: `RunContext`.
    """
    try:
        yield
    except tf.errors.UnavailableError as error:
        raise ValueError(
            f"All {context.num_processes} processes of a run must stay alive. "
            f"Received: {short_message(error)}. "
            "Check the output of the other processes, then start all again with `--resume`."
        ) from error


def run_context(strategy: tf.distribute.Strategy) -> RunContext:
    """Returns the `RunContext` of a `tf.distribute.Strategy`: one process if it has no cluster."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    num_chiefs, num_workers = (len(cluster.get(job, ())) for job in TRAINING_JOBS)
    if not num_chiefs + num_workers:
        return RunContext(strategy)
    rank = resolver.task_id + (num_chiefs if resolver.task_type == "worker" else 0)
    return RunContext(strategy, rank, num_chiefs + num_workers)
