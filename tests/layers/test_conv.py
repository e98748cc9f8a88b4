"""Tests of grouped and dilated convolutions and GroupNorm, with numbers computed by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.ops.implementation import using_implementation

pytestmark = pytest.mark.kernels


def test_group_norm_by_hand():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, [2, 4, 5, 64]).astype("float32")
    layer = ConvNorm(64, 1, norm="group_norm", norm_epsilon=0.5)
    layer.build(x.shape)
    layer.kernel.assign(np.eye(64)[None, None])
    layer.norm.gamma.assign(rng.normal(size=64))
    layer.norm.beta.assign(rng.normal(size=64))
    groups = x.astype("float64").reshape(2, 20, 32, 2)  # two channels per group
    mean, variance = groups.mean(axis=(1, 3), keepdims=True), groups.var(axis=(1, 3), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 0.5)).reshape(x.shape)
    expected = expected * layer.norm.gamma.numpy() + layer.norm.beta.numpy()
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_a_loaded_layer_uses_the_kernels_of_the_machine_that_loads_it(monkeypatch):
    saved = ConvNorm(4, 3, implementation="portable").get_config()
    assert "implementation" not in saved
    for gpus, expected in (([], "cpu"), (["a GPU"], "gpu")):
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind, gpus=gpus: gpus)
        assert ConvNorm.from_config(saved).implementation == expected
        with using_implementation("portable"):
            assert ConvNorm.from_config(saved).implementation == "portable"


@pytest.mark.parametrize("implementation", ["cpu", "gpu", "portable"])
def test_groups_do_not_see_each_other(implementation):
    layer = ConvNorm(4, 3, groups=2, kernel_initializer="ones", implementation=implementation)
    image = np.zeros([1, 3, 3, 4], "float32")
    image[..., 2:] = 1
    np.testing.assert_array_equal(layer(image)[0, 1, 1], [0, 0, 18, 18])


@pytest.mark.parametrize("implementation", ["cpu", "gpu", "portable"])
def test_a_dilated_kernel_skips_pixels(implementation):
    layer = ConvNorm(1, 3, dilation=2, kernel_initializer="ones", implementation=implementation)
    image = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    output = layer(image)
    assert output.shape == image.shape
    np.testing.assert_array_equal(output[0, 2, 2], [0 + 2 + 4 + 10 + 12 + 14 + 20 + 22 + 24])
    np.testing.assert_array_equal(output[0, 0, 0], [0 + 2 + 10 + 12])


@pytest.mark.parametrize("filters", [8, None])
@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_no_convolution_gets_a_list_of_paddings(filters, kernel_size, strides):
    layer = ConvNorm(filters, kernel_size, strides, dtype="mixed_bfloat16")
    layer.build((None, 16, 24, 4))

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return tape.gradient(y, [x, *layer.trainable_variables])

    nodes = gradients.get_concrete_function(tf.TensorSpec([2, 16, 24, 4], "bfloat16")).graph.get_operations()
    paddings = {
        node.get_attr("padding") for node in nodes if "Conv2" in node.type or "Depthwise" in node.type
    }
    assert paddings
    assert paddings <= {b"SAME", b"VALID"}


@pytest.mark.parametrize("size", [(16, 24), (15, 23)])
@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 2), (3, 1), (3, 2), (7, 2)])
def test_symmetric_padding_is_that_of_a_list(kernel_size, strides, size):
    layer = ConvNorm(8, kernel_size, strides)
    x = np.random.default_rng(0).normal(size=[2, *size, 4]).astype("float32")
    pad = kernel_size // 2
    found = layer(x)
    expected = tf.nn.conv2d(x, layer.kernel, strides, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    np.testing.assert_allclose(found, expected, atol=1e-5)
