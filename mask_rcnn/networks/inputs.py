"""Inputs of the networks."""

from typing import Any

import keras

from mask_rcnn.ops.tensor import Shape


def feature_input(shape: Shape, name: str) -> Any:
    """Returns a `keras.Input`, a `keras.KerasTensor`, in the compute dtype of the current dtype policy.

    Keras's default is float32. It would silently cast every map between two networks to float32, both under
    bfloat16 and under float64.

    Args:
        shape: Shape without the batch axis.
        name: Name of the input.
    """
    return keras.Input(shape, dtype=keras.config.dtype_policy().compute_dtype, name=name)
