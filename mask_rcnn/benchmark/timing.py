"""Measures wall time, CPU time and memory."""

import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

T = TypeVar("T")


@dataclass(frozen=True)
class Seconds:
    """Duration of a run.

    Args:
        wall: Wall time in seconds.
        cpu: CPU time of all cores together, in seconds.
    """

    wall: float
    cpu: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __truediv__(self, count: float) -> "Seconds":
        return Seconds(self.wall / count, self.cpu / count)


def timed(run: Callable[[], T]) -> tuple[Seconds, T]:
    """Runs a function without arguments; returns its `Seconds` and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


def interleaved(
    runs: Mapping[str, Callable[[], tuple[Seconds, Any]]], warmup: int, repeats: int
) -> tuple[dict[str, list[Seconds]], dict[str, Any]]:
    """Measures several functions in turns, A B A B, so that another load of the machine affects all of them.

    Args:
        runs: `{name: function}`. Each function has no arguments and returns (`Seconds`, result).
        warmup: Number of first rounds that are not counted.
        repeats: Number of rounds that are counted.

    Returns:
        seconds: `{name: list of Seconds}` of the counted rounds.
        first: `{name: result}` of the very first round.
    """
    seconds: dict[str, list[Seconds]] = {name: [] for name in runs}
    first: dict[str, Any] = {}
    rounds = warmup + repeats
    for number in range(rounds):
        for name, run in runs.items():
            duration, result = run()
            seconds[name].append(duration)
            first.setdefault(name, result)
        latest = ", ".join(f"{name} {measured[-1].wall:.3f} s" for name, measured in seconds.items())
        logging.info("Round %d of %d: %s", number + 1, rounds, latest)
    return {name: measured[warmup:] for name, measured in seconds.items()}, first


def median(seconds: Iterable[Seconds]) -> Seconds:
    """Returns the median of a list of `Seconds`, separately for wall and CPU time."""
    seconds = list(seconds)
    return Seconds(statistics.median(s.wall for s in seconds), statistics.median(s.cpu for s in seconds))


def peak_memory(process_id: int | str = "self") -> int | None:
    """Returns the peak memory of a process so far in bytes, or None if the system does not report it.

    It does not use `getrusage`: on Linux, the maximum of a child process starts with that of its parent.

    Args:
        process_id: Id of the process. Defaults to "self".
    """
    status = Path(f"/proc/{process_id}/status")
    match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(match[1]) * 1024 if match else None
