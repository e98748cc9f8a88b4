"""Errors that have a meaning of their own, and library messages in a form that a person can read."""

import re

MAX_LENGTH = 300  # characters
# Lines of TensorFlow's messages that name nodes of the graph or lines of its code.
NOISE = re.compile(
    r'Graph execution error|Detected at node|File "|<stack traces|Stack trace|Traceback|\d+ root error'
)
ADDRESS = re.compile(r" \[\[\{\{.*| \[Op:.*|^\(\d+\) \w+: +")


class PartialFailure(Exception):
    """Part of a command failed and all else is done. The message lists what failed."""


class UnreadableImage(ValueError):
    """One image of many cannot be read or used. The message says why."""


def short_message(error):
    """Returns the first line of a library's message that says what is wrong, without graph nodes.

    Args:
        error: The exception.
    """
    text = getattr(error, "message", None) or str(error)
    lines = (ADDRESS.sub("", line.strip()) for line in str(text).splitlines())
    line = next((line for line in lines if line and not NOISE.match(line)), type(error).__name__).rstrip(".:")
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}..."


def is_out_of_memory(error):
    """Returns whether memory is exhausted, as Python, NumPy or TensorFlow say it."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
