"""Runs a probe in a separate process, and reports how it failed."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

TIME_LIMIT = 300  # seconds; the import of TensorFlow takes 3 to 30
MAX_ERROR = 300  # characters of an error that are kept


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a probe.

    Args:
        result: Its result, or None if it failed.
        error: Why it failed, one line. Defaults to "".
        signal: Name of the signal that ended it, such as "SIGILL". Defaults to "".
        messages: Lines that its libraries wrote to stderr. Defaults to none.
    """

    result: dict[str, Any] | None
    error: str = ""
    signal: str = ""
    messages: list[str] = field(default_factory=list)


def run_probe(name: str, time_limit: float = TIME_LIMIT) -> Outcome:
    """Runs a probe and returns its `Outcome`.

    Args:
        name: Name of the probe, a key of `probes.PROBES`.
        time_limit: Seconds after which the process is killed. Defaults to 300.
    """
    # -P: does not import a folder `mask_rcnn` in the working directory instead of the installed package.
    command = [sys.executable, "-P", "-m", "mask_rcnn.doctor.probes", name]
    try:
        completed = subprocess.run(command, capture_output=True, timeout=time_limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Outcome(result=None, error=f"no answer within {time_limit} seconds")
    messages = completed.stderr.decode("utf-8", "replace").splitlines()
    if completed.returncode == 0:
        last_line = completed.stdout.decode("utf-8", "replace").strip().splitlines()[-1]
        return Outcome(result=json.loads(last_line), messages=messages)
    if completed.returncode < 0:
        number = signal.Signals(-completed.returncode).name
        return Outcome(result=None, error=f"{number} ended the process", signal=number, messages=messages)
    error = next((line for line in reversed(messages) if line.strip()), f"exit code {completed.returncode}")
    return Outcome(result=None, error=error.strip()[:MAX_ERROR], messages=messages)
