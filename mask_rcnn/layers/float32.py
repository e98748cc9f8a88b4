"""Base class of all layers that compute with boxes."""

from typing import Any

import keras


class Float32Layer(keras.layers.Layer):
    """Layer that computes in float32 under any dtype policy: bfloat16 cannot tell pixel 513 from 514."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
