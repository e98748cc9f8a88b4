"""Compares ops/grouped_conv.py with TensorFlow's kernels."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import grouped_conv

pytestmark = pytest.mark.kernels


def random_tensor(*shape, dtype="float64", seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def around(pad):
    return [[0, 0], [pad, pad], [pad, pad], [0, 0]] if pad else "VALID"


CASES = {
    "plain": ((2, 5, 6, 4), (3, 3, 4, 6), 1, around(1), 1),
    "groups": ((2, 5, 6, 8), (3, 3, 2, 12), 1, around(1), 1),
    "groups with a stride": ((1, 7, 8, 6), (3, 3, 2, 3), 2, around(1), 1),
    "as many groups as channels": ((1, 4, 4, 3), (3, 3, 1, 3), 1, "SAME", 1),
    "dilated, even sides": ((2, 6, 8, 4), (3, 3, 4, 5), 1, around(2), 2),
    "dilated, odd sides": ((1, 5, 7, 3), (3, 3, 3, 2), 1, around(2), 2),
    "dilated by three": ((1, 7, 5, 3), (3, 3, 3, 2), 1, around(3), 3),
    "dilated groups": ((1, 6, 5, 6), (3, 3, 3, 4), 1, around(2), 2),
    "one pixel": ((1, 1, 1, 2), (3, 3, 2, 2), 1, around(2), 2),
}
each_case = pytest.mark.parametrize(
    ("size", "kernel_size", "strides", "padding", "dilation"), CASES.values(), ids=CASES.keys()
)


@each_case
def test_values_are_those_of_one_convolution(size, kernel_size, strides, padding, dilation):
    x, kernel = random_tensor(*size), random_tensor(*kernel_size, seed=1)
    mine = grouped_conv.conv2d(x, kernel, strides, padding=padding, dilations=dilation)
    theirs = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilation)
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, atol=1e-12)


@each_case
def test_gradients_are_those_of_something_linear(size, kernel_size, strides, padding, dilation):
    """y is linear in x, so sum(gradient * dx) equals the change of sum(y * u) by dx."""
    x, kernel = random_tensor(*size), random_tensor(*kernel_size, seed=1)
    dx, dkernel = random_tensor(*size, seed=2), random_tensor(*kernel_size, seed=3)
    with tf.GradientTape() as tape:
        tape.watch((x, kernel))
        y = grouped_conv.conv2d(x, kernel, strides, padding=padding, dilations=dilation)
        upstream = random_tensor(*y.shape, seed=4)
        total = tf.reduce_sum(y * upstream)
    of_x, of_kernel = tape.gradient(total, (x, kernel))

    def change(x, kernel):
        return tf.reduce_sum(tf.nn.conv2d(x, kernel, strides, padding, dilations=dilation) * upstream)

    np.testing.assert_allclose(tf.reduce_sum(of_x * dx), change(dx, kernel), rtol=1e-10)
    np.testing.assert_allclose(tf.reduce_sum(of_kernel * dkernel), change(x, dkernel), rtol=1e-10)


def test_sizes_may_be_known_only_at_run_time():
    signature = [tf.TensorSpec([None, None, None, 4], tf.float64), tf.TensorSpec([3, 3, 2, 4], tf.float64)]
    convolve = tf.function(
        lambda x, kernel: grouped_conv.conv2d(x, kernel, 1, padding="SAME", dilations=2),
        input_signature=signature,
    )
    kernel = random_tensor(3, 3, 2, 4)
    for shape in [(1, 5, 6, 4), (2, 4, 3, 4), (0, 5, 6, 4)]:
        assert convolve(random_tensor(*shape), kernel).shape == shape


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_precisions_of_networks_have_gradients(dtype):
    x, kernel = random_tensor(1, 6, 6, 8, dtype=dtype), random_tensor(3, 3, 4, 8, dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch((x, kernel))
        y = grouped_conv.conv2d(x, kernel, 1, padding=around(2), dilations=2)
    for gradient in tape.gradient(y, (x, kernel)):
        assert gradient.dtype == dtype
        assert np.isfinite(tf.cast(gradient, tf.float32)).all()
