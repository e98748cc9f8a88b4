"""The base of all layers that handle boxes."""

import keras


class Float32Layer(keras.layers.Layer):
    """A layer that computes in float32 whatever the dtype policy: bfloat16 can't tell pixel 513 from 514."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
