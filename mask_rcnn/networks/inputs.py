"""The inputs of the networks."""

import keras


def feature_input(shape, name):
    """Returns a `keras.Input` in the compute dtype of the current policy.

    Keras's own default is float32, to which it would silently cast every map on its way from one part
    to the next, under bfloat16 as under float64.

    Args:
        shape: without the batch.
        name: of the input.
    """
    return keras.Input(shape, dtype=keras.config.dtype_policy().compute_dtype, name=name)
