"""Which operations compute the convolutions: "cpu", "gpu" or "portable", as in `model.build_parts`."""

import contextlib
import contextvars
import functools

import tensorflow as tf
from absl import logging
from tensorflow.python.util import _pywrap_util_port

from mask_rcnn.processor import instruction_sets

_CHOSEN = contextvars.ContextVar("kernels", default=None)


def has_gpu():
    """Returns whether TensorFlow uses a GPU. GPUs that `tf.config.set_visible_devices` hides are none."""
    return bool(tf.config.get_visible_devices("GPU"))


def current_kernels():
    """Returns the choice of `using_kernels`, or the fastest one of this machine."""
    return _CHOSEN.get() or ("gpu" if has_gpu() else "cpu")


@contextlib.contextmanager
def using_kernels(name):
    """Layers that are made inside use the kernels `name`; None is the fastest choice of this machine."""
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def uses_onednn():
    """Returns whether TensorFlow uses oneDNN's kernels, as `TF_ENABLE_ONEDNN_OPTS` and the CPU decide."""
    return _pywrap_util_port.IsMklEnabled()


@functools.cache
def warn_of_slow_precision(precision):
    """Logs a warning, once in a process, if this machine computes a dtype policy slower than float32."""
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
