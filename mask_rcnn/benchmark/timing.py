"""Wall clock, processor time and memory."""

import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from absl import logging


@dataclass(frozen=True)
class Seconds:
    """What a run took: on the clock, and of all cores together."""

    wall: float
    cpu: float

    def __add__(self, other):
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __truediv__(self, count):
        return Seconds(self.wall / count, self.cpu / count)


def timed(run):
    """Runs a function of no arguments; returns its `Seconds` and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


def interleaved(runs, warmup, repeats):
    """Measures several things in turns, A B A B, so that what else the machine does hits all of them.

    Args:
        runs: `{name: function}`, each of no arguments, to (`Seconds`, result).
        warmup: rounds that do not count.
        repeats: rounds that do.

    Returns:
        `{name: list of Seconds}` of the rounds that count, and `{name: result}` of the very first round.
    """
    seconds, first = {name: [] for name in runs}, {}
    rounds = warmup + repeats
    for number in range(rounds):
        for name, run in runs.items():
            taken, result = run()
            seconds[name].append(taken)
            first.setdefault(name, result)
        latest = ", ".join(f"{name} {taken[-1].wall:.3f} s" for name, taken in seconds.items())
        logging.info("Round %d of %d: %s", number + 1, rounds, latest)
    return {name: taken[warmup:] for name, taken in seconds.items()}, first


def median(seconds):
    """Returns the median of a list of `Seconds`, of clock and processor each."""
    return Seconds(statistics.median(s.wall for s in seconds), statistics.median(s.cpu for s in seconds))


def peak_memory(process_id="self"):
    """Returns the most memory that a process has held so far, bytes; None where the system does not tell.

    Not `getrusage`: on Linux a child's maximum begins with that of the process that started it.
    """
    status = Path(f"/proc/{process_id}/status")
    match = status.exists() and re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
    return int(match[1]) * 1024 if match else None
