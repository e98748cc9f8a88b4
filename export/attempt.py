"""`try`/`except` for TensorFlow graphs."""

import tensorflow as tf


def attempt(function, value, otherwise):
    """Returns `function(value)`, or a default value if one of its ops fails.

    Only `tf.data` continues after an op has failed: the failed element is left out, and the next one is the
    default.

    Args:
        function: of a tensor to a tensor; without Python control flow on tensors.
        value: a tensor.
        otherwise: The default value, of the dtype of the result and a compatible shape.
    """
    function = tf.autograph.experimental.do_not_convert(function)
    results = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    return results.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
