"""Runs a probe in a process of its own, and says how it ended if it failed."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field

TIME_LIMIT = 300  # seconds; TensorFlow takes 3 to 30 for its import
MAX_ERROR = 300  # characters


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a probe ended.

    Args:
        found: What it returned, or None.
        error: Why it returned nothing, one line. Defaults to "".
        signal: Name of the signal that ended it, such as "SIGILL". Defaults to "".
        messages: Lines that its libraries wrote on stderr. Defaults to none.
    """

    found: dict | None
    error: str = ""
    signal: str = ""
    messages: list = field(default_factory=list)


def run_probe(name, time_limit=TIME_LIMIT):
    """Returns the `Outcome` of a probe.

    Args:
        name: One of `probes.PROBES`.
        time_limit: Seconds after which the process is killed.
    """
    # -P: a folder `mask_rcnn` in the working folder is not the installed package.
    words = [sys.executable, "-P", "-m", "mask_rcnn.doctor.probes", name]
    try:
        done = subprocess.run(words, capture_output=True, timeout=time_limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Outcome(found=None, error=f"no answer within {time_limit} seconds")
    messages = done.stderr.decode("utf-8", "replace").splitlines()
    if done.returncode == 0:
        last_line = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1]
        return Outcome(found=json.loads(last_line), messages=messages)
    if done.returncode < 0:
        number = signal.Signals(-done.returncode).name
        return Outcome(found=None, error=f"{number} ended the process", signal=number, messages=messages)
    error = next((line for line in reversed(messages) if line.strip()), f"exit code {done.returncode}")
    return Outcome(found=None, error=error.strip()[:MAX_ERROR], messages=messages)
