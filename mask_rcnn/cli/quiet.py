"""Imports TensorFlow without its greetings, so that what a command says on stderr is its own."""

import contextlib
import os

from absl import flags, logging

from mask_rcnn.memory import keep_freed_memory

STDERR = 2


def import_tensorflow():
    """Imports TensorFlow and looks for GPUs with stderr closed; `-v 1` leaves it open.

    Its libraries write some lines there whatever the log level is, on a machine without a GPU an error too.
    Nothing is lost with them: an import that fails raises. Later, it logs warnings and errors, but not each
    collective of several processes. On CPUs the process keeps the memory it frees,
    see `memory`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.nullcontext() if flags.FLAGS.verbosity > 0 else _closed_stderr():
        import tensorflow as tf

        if flags.FLAGS.verbosity <= 0:
            tf.get_logger().setLevel("WARNING")
        if not tf.config.list_physical_devices("GPU"):
            keep_freed_memory()


@contextlib.contextmanager
def only_warnings():
    """Logs nothing less than a warning, unless the user asked for more with `-v`.

    TensorFlow tells at length how it writes a model.
    """
    before = logging.get_verbosity()
    logging.set_verbosity(before if flags.FLAGS.verbosity > 0 else logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _closed_stderr():
    """Sends what C and C++ write on stderr to nowhere."""
    kept, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
        os.close(nowhere)
