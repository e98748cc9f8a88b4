"""Compares ops/winograd.py with TensorFlow's convolution."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import winograd

pytestmark = pytest.mark.kernels

# The transforms multiply by up to 5 * 5 and add 36 terms: float32 keeps about 1e-5 of the largest value.
FLOAT32_TOLERANCE = 3e-5


def random_tensor(shape, dtype="float64", seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def direct(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")


def gradients(convolve, x, kernel, upstream):
    with tf.GradientTape() as tape:
        tape.watch((x, kernel))
        y = convolve(x, kernel)
    return y, *tape.gradient(y, (x, kernel), upstream)


def test_a_kernel_of_one_pixel_shifts_the_map():
    x = tf.reshape(tf.range(25.0), [1, 5, 5, 1])
    kernel = tf.reshape(tf.one_hot(2 * 3 + 1, 9), [3, 3, 1, 1])  # selects the pixel below
    y = winograd.conv2d(x, kernel)[0, :, :, 0]
    np.testing.assert_allclose(y[:4], x[0, 1:, :, 0], atol=1e-4)
    np.testing.assert_allclose(y[4], np.zeros(5), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 8), (7, 3), (6, 9), (70, 66)])  # the last: two chunks
def test_values_and_gradients_are_those_of_the_direct_sum(size):
    x, kernel = random_tensor((2, *size, 3)), random_tensor((3, 3, 3, 5), seed=1)
    upstream = random_tensor((2, *size, 5), seed=2)
    for mine, theirs in zip(
        gradients(winograd.conv2d, x, kernel, upstream), gradients(direct, x, kernel, upstream), strict=True
    ):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-9)


def test_float32_is_close_enough_for_a_network():
    x, kernel = random_tensor((2, 30, 21, 64), "float32"), random_tensor((3, 3, 64, 64), "float32", seed=1)
    upstream = random_tensor((2, 30, 21, 64), "float32", seed=2)
    mine = tf.function(gradients)(winograd.conv2d, x, kernel, upstream)
    for fast, plain in zip(mine, gradients(direct, x, kernel, upstream), strict=True):
        np.testing.assert_allclose(fast, plain, atol=FLOAT32_TOLERANCE * np.abs(plain).max())


def test_sizes_may_be_known_only_at_run_time():
    convolve = tf.function(
        winograd.conv2d, input_signature=[tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([3, 3, 2, 4])]
    )
    kernel = random_tensor((3, 3, 2, 4), "float32")
    for shape in [(1, 5, 6, 2), (3, 9, 4, 2)]:
        x = random_tensor(shape, "float32", seed=1)
        np.testing.assert_allclose(convolve(x, kernel), direct(x, kernel), atol=1e-4)
    assert convolve(random_tensor((0, 5, 6, 2), "float32"), kernel).shape == (0, 5, 6, 4)


def ancestors(tensor):
    """Returns the names of all operations that a tensor depends on."""
    found, new = set(), [tensor.op]
    while new:
        op = new.pop()
        if op.name not in found:
            found.add(op.name)
            new += [each.op for each in op.inputs] + list(op.control_inputs)
    return found


def test_nothing_is_transformed_before_it_is_needed():
    spec = tf.TensorSpec([1, 8, 8, 4])
    function = tf.function(lambda *inputs: gradients(winograd.conv2d, *inputs))
    graph = function.get_concrete_function(spec, tf.TensorSpec([3, 3, 4, 4]), spec).graph
    x, kernel, upstream = (tensor.op.name for tensor in graph.inputs)
    transforms = [op for op in graph.get_operations() if op.type == "MatMul"]
    of_kernel = [ancestors(op.outputs[0]) for op in transforms if kernel in ancestors(op.outputs[0])]
    assert len(of_kernel) == 2  # one for the map, one for its gradient
    assert all({x, upstream} & found for found in of_kernel)
    loops = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
    forward, *backward = sorted(loops, key=lambda op: upstream in ancestors(op.outputs[-1]))
    assert upstream not in ancestors(forward.outputs[-1]) and len(backward) == 2
    for loop in backward:
        maps = [tensor for tensor in loop.inputs if tensor.shape.rank in (2, 4)]
        assert all(upstream in ancestors(tensor) or not {x, kernel} & ancestors(tensor) for tensor in maps)
