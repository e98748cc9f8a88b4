"""Choice of the operations that compute convolutions: "cpu", "gpu" or "portable", see `model.build_parts`."""

import contextlib
import contextvars
import functools

import tensorflow as tf
from absl import logging
from tensorflow.python.util import _pywrap_util_port

from mask_rcnn.system.processor import instruction_sets

_CHOSEN = contextvars.ContextVar("kernels", default=None)


def has_gpu():
    """Returns whether TensorFlow uses a GPU. GPUs hidden by `tf.config.set_visible_devices` do not count."""
    return bool(tf.config.get_visible_devices("GPU"))


def current_kernels():
    """Returns the name chosen with `using_kernels`; by default "gpu" on a machine with a GPU, else "cpu"."""
    return _CHOSEN.get() or ("gpu" if has_gpu() else "cpu")


@contextlib.contextmanager
def using_kernels(name):
    """Context manager that sets the kernels of all layers created inside it.

    Args:
        name: "cpu", "gpu" or "portable". None selects the default of `current_kernels`.
    """
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def uses_onednn():
    """Returns whether TensorFlow uses oneDNN. `TF_ENABLE_ONEDNN_OPTS` and the CPU decide that."""
    return _pywrap_util_port.IsMklEnabled()


@functools.cache
def warn_of_slow_precision(precision):
    """Logs a warning if this machine computes a dtype policy more slowly than float32; once per process.

    Args:
        precision: Name of a Keras dtype policy. Only "mixed_bfloat16" and "mixed_float16" can be slow.
    """
    if precision not in ("mixed_bfloat16", "mixed_float16") or has_gpu():
        return
    known = instruction_sets()
    is_fast = precision == "mixed_bfloat16" and uses_onednn() and {"BF16", "AMX"} & set(known or ("BF16",))
    if not is_fast:
        sets = "unknown instruction sets" if known is None else " ".join(known) or "none of these sets"
        logging.warning(
            "%s is slow on this machine: it needs a GPU%s. The CPU has %s, oneDNN is %s. Use float32 here.",
            precision,
            ", or oneDNN and a CPU with BF16 or AMX" if precision == "mixed_bfloat16" else "",
            sets,
            "on" if uses_onednn() else "off",
        )
