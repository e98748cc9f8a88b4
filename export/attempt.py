"""What Python has `except` for, in a graph."""

import tensorflow as tf


def attempt(function, value, otherwise):
    """Returns `function(value)`, or `otherwise` where one of its ops fails.

    Only a data set goes on after an op has failed: the failed element is left out, and the next is this one.

    Args:
        function: of a tensor to a tensor.
        value: a tensor.
        otherwise: a tensor like the result; sizes that are not known may differ.
    """
    results = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    return results.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
