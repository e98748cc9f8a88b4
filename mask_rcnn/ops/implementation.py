"""Choice of the operations that compute convolutions: "cpu", "gpu" or "portable", see `model.build_parts`."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Literal

import tensorflow as tf
from absl import logging
from tensorflow.python.util import _pywrap_util_port

from mask_rcnn.system.processor import instruction_sets

Implementation = Literal["cpu", "gpu", "portable"]

_SELECTED: contextvars.ContextVar[Implementation | None] = contextvars.ContextVar(
    "implementation", default=None
)


def has_gpu() -> bool:
    """Returns whether TensorFlow uses a GPU. GPUs hidden by `tf.config.set_visible_devices` do not count."""
    return bool(tf.config.get_visible_devices("GPU"))


def current_implementation() -> Implementation:
    """Returns the implementation that new layers use.

    This is the one of `using_implementation`; by default "gpu" on a machine with a GPU, otherwise "cpu".
    """
    return _SELECTED.get() or ("gpu" if has_gpu() else "cpu")


@contextlib.contextmanager
def using_implementation(name: Implementation | None) -> Iterator[None]:
    """Context manager that sets the implementation of all layers created inside it.

    Args:
        name: "cpu", "gpu" or "portable". None selects the default of `current_implementation`.
    """
    token = _SELECTED.set(name)
    try:
        yield
    finally:
        _SELECTED.reset(token)


def uses_onednn() -> bool:
    """Returns whether TensorFlow uses oneDNN. `TF_ENABLE_ONEDNN_OPTS` and the CPU decide that."""
    return _pywrap_util_port.IsMklEnabled()


@functools.cache
def warn_of_slow_precision(precision: str) -> None:
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
