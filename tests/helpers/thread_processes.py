"""Runs the processes of a run as threads of one process, which exchange values instead of collectives."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mask_rcnn.training.processes import RunContext


class Exchange:
    """Gives each of `count` threads the values of all threads."""

    def __init__(self, count):
        self.barrier, self.values = threading.Barrier(count, timeout=60), [None] * count

    def __call__(self, rank, value):
        self.values[rank] = value
        self.barrier.wait()
        values = list(self.values)
        self.barrier.wait()
        return values


@dataclass(frozen=True)
class ThreadContext(RunContext):
    """A `RunContext` whose processes are threads."""

    exchange: Exchange | None = None

    def gather_numbers(self, number):
        return self.exchange(self.rank, number)

    def _gather_bytes(self, content):
        return self.exchange(self.rank, content)


def run_in_threads(count, function):
    """Returns the result or the exception of `function(context)` in each of `count` threads."""
    exchange = Exchange(count)

    def run(rank):
        try:
            return function(ThreadContext(None, rank, count, exchange))
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
