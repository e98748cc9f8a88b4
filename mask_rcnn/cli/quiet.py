"""Imports TensorFlow without its start-up messages, so that stderr has only messages of the command."""

import contextlib
import os
from collections.abc import Iterator

from absl import flags, logging

from mask_rcnn.system.memory import keep_freed_memory

STDERR = 2


def import_tensorflow() -> None:
    """Imports TensorFlow and lists the GPUs with stderr redirected to /dev/null, unless `-v 1` is given.

    TensorFlow's libraries print lines to stderr whatever the log level is. Without a GPU, one of them is an
    error. Nothing important is lost: an import that fails raises an exception. Later, TensorFlow logs
    warnings and errors, but not each collective operation of several processes. Without a GPU, the process
    keeps the memory that it frees; see `mask_rcnn.system.memory`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.nullcontext() if flags.FLAGS.verbosity > 0 else _closed_stderr():
        import tensorflow as tf

        if flags.FLAGS.verbosity <= 0:
            tf.get_logger().setLevel("WARNING")
        if not tf.config.list_physical_devices("GPU"):
            keep_freed_memory()


@contextlib.contextmanager
def only_warnings() -> Iterator[None]:
    """A context manager that logs only warnings and errors, unless the user gave `-v 1`.

    TensorFlow logs many messages when it writes a model.
    """
    before = logging.get_verbosity()
    logging.set_verbosity(before if flags.FLAGS.verbosity > 0 else logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    """A context manager that redirects file descriptor 2 to /dev/null, for messages of C and C++ code."""
    original, null = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDERR)
    try:
        yield
    finally:
        os.dup2(original, STDERR)
        os.close(original)
        os.close(null)
