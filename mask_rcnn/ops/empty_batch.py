"""Convolutions that also work for an empty batch.

TensorFlow's oneDNN convolutions (2.21, float32 and bfloat16 on CPUs) return an empty result with the shape
of their input: `[0, H, W, C]` instead of `[0, H', W', K]`. The next bias or gradient then fails. Pull request
https://github.com/tensorflow/tensorflow/pull/112639 describes the early return that causes this. It was not
merged.
"""

from collections.abc import Callable

import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


def with_empty_batch(convolve: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Returns `convolve(x)`. For an empty batch it convolves one image of zeros and removes it again.

    A batch that is not empty is not copied: TensorFlow forwards the tensor through a padding of zero images
    and through a slice of all images.

    Args:
        convolve: Function from `[B, H, W, C]` to a tensor `[B, ...]` of static rank. It is only called with
            B of at least 1.
        x: `[B, H, W, C]`. B may be 0.

    Returns:
        `[B, ...]`.
    """
    if x.shape[0]:  # the batch size is static, as in exports to TFLite and ONNX
        return convolve(x)
    count = tf.shape(x)[0]
    padding = [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]]
    padded = tf.pad(x, padding)  # pyright: ignore[reportArgumentType]  # the stubs lack lists of tensors
    y = convolve(tf.ensure_shape(padded, [None, *x.shape[1:]]))
    sides = y.shape[1:]
    y = tf.slice(y, [0] * y.shape.rank, [count] + [-1] * sides.rank)
    return tf.ensure_shape(y, [x.shape[0], *sides])
