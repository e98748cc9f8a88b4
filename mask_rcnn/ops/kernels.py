"""Which operations compute the convolutions: "cpu", "gpu" or "portable", as in `model.build_parts`."""

import contextlib
import contextvars

import tensorflow as tf

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
