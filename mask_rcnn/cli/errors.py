"""Converts exceptions to messages for the user and exit codes."""

import json
import os
from pathlib import Path

from mask_rcnn.errors import PartialFailure, is_out_of_memory, short_message

BUG = 1
USER_ERROR = 2  # the same as argparse's for a wrong option
PARTIAL_FAILURE = 3
INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
BROKEN_PIPE = 141  # 128 + SIGPIPE

EXIT_CODES = """\
exit codes:
  0    success
  1    a bug in mask-rcnn; of `data check`: the data has errors
  2    wrong options, config, data or files; not enough memory or disk space
  3    a part failed, for example some of the files; everything else is done
  129, 130, 143
       stopped by SIGHUP, Ctrl-C (SIGINT), SIGTERM
  141  the program that reads the output has ended, such as `head`
"""

PACKAGE = Path(__file__).parents[1]
SOURCES = tuple(f"{PACKAGE.parent / name}{os.sep}" for name in ("mask_rcnn", "model_zoo", "export"))

OUT_OF_MEMORY = (
    "There is not enough memory. Use smaller batches (`--set train.batch_size=...`), smaller images "
    "(`--set input.short_side=...`, `--set input.train_short_sides=...`), or another model."
)


def describe_error(error: BaseException) -> tuple[str, int]:
    """Returns (message, exit code) of an exception that ended a command.

    Args:
        error: The exception. A `ValueError` raised in this package has a message for the user, and an
            `OSError` names a file. Other exceptions of libraries are known here, or are reported as a bug.
    """
    if isinstance(error, PartialFailure):
        return str(error), PARTIAL_FAILURE
    if is_out_of_memory(error):
        return OUT_OF_MEMORY, USER_ERROR
    if isinstance(error, OSError):
        return _describe_os_error(error), USER_ERROR
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"A file cannot be read as text: {short_message(error)}.", USER_ERROR
    if isinstance(error, ImportError) or (isinstance(error, ValueError) and _is_ours(error)):
        return str(error), USER_ERROR
    if isinstance(error, RecursionError):
        return _bug("A file is nested too deeply"), BUG
    return _bug(f"{type(error).__name__}: {short_message(error)}"), BUG


def _describe_os_error(error: OSError) -> str:
    """Returns an error such as `[Errno 28] No space left on device: 'x'` as a sentence.

    The messages of this package's own errors are sentences already.
    """
    if error.strerror is None:
        return str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{error.strerror}: {' -> '.join(names)}." if names else f"{error.strerror}."


def _is_ours(error: BaseException) -> bool:
    """Returns whether the exception was raised in this package, and not in a library that it called."""
    traceback = error.__traceback__
    if traceback is None:
        return True
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename.startswith(SOURCES)


def _bug(text: str) -> str:
    return f"{text}. This is a bug in mask-rcnn: please report it with the traceback that `-v 1` shows."
