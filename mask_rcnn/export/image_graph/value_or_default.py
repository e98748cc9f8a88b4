"""`try`/`except` for TensorFlow graphs: returns a default value if an op fails."""

from collections.abc import Callable

import tensorflow as tf


def value_or_default(
    function: Callable[[tf.Tensor], tf.Tensor], value: tf.Tensor, default: tf.Tensor | int
) -> tf.Tensor:
    """Returns `function(value)`, or a default value if one of its ops fails.

    Only `tf.data` continues after an op has failed. `ignore_errors` drops the failed element, and the element
    after it is the default value.

    Args:
        function: Function of one tensor that returns one tensor, without Python control flow on tensors.
        value: Tensor, the argument of `function`.
        default: Default value, of the dtype of the result and a compatible shape.
    """
    function = tf.autograph.experimental.do_not_convert(function)
    results = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    return results.concatenate(tf.data.Dataset.from_tensors(default)).take(1).get_single_element()
