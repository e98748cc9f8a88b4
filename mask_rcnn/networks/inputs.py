"""Inputs of the networks."""

import keras

from mask_rcnn.ops.tensor import Shape


def feature_input(shape: Shape, name: str) -> keras.KerasTensor:
    """Returns a `keras.Input` in the compute dtype of the current dtype policy.

    Keras's default is float32. It would silently cast every map between two networks to float32, both under
    bfloat16 and under float64.

    Args:
        shape: Shape without the batch axis.
        name: Name of the input.
    """
    return keras.Input(shape, dtype=keras.config.dtype_policy().compute_dtype, name=name)
