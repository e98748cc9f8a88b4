"""Exceptions of this package, and functions that shorten and classify exceptions of libraries."""

import re

MAX_LENGTH = 300  # characters
# Beginnings of lines in TensorFlow's messages that only name graph nodes or lines of code.
NOISE = re.compile(
    r'Graph execution error|Detected at node|File "|<stack traces|Stack trace|Traceback|\d+ root error'
)
ADDRESS = re.compile(r" \[\[\{\{.*| \[Op:.*|^\(\d+\) \w+: +")


class PartialFailure(Exception):
    """Raised when a command finished all but some of its work. The message lists what failed."""


class UnreadableImage(ValueError):
    """An image that cannot be read or used. The message contains the reason."""


def short_message(error: BaseException) -> str:
    """Returns the first informative line of an exception's message, without TensorFlow's graph nodes.

    Args:
        error: Exception.

    Returns:
        String of at most 300 characters (then "..."), or the name of the exception's class if it has no
        message.
    """
    text = getattr(error, "message", None) or str(error)
    lines = (ADDRESS.sub("", line.strip()) for line in str(text).splitlines())
    line = next((line for line in lines if line and not NOISE.match(line)), type(error).__name__).rstrip(".:")
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}..."


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of Python, NumPy or TensorFlow means that memory is exhausted."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
