"""Tests of the conversion of PyTorch weights: transpositions by each layer's definition, names by a table."""

import keras
import numpy as np
import pytest
from locations import PARITY

from mask_rcnn.model import build_parts
from mask_rcnn.model_zoo.convert import TRANSPOSITIONS, convert, flattened_dense, swap_xy, translate
from mask_rcnn.model_zoo.torchvision import IGNORED, TABLE
from mask_rcnn.weights import variables

RNG = np.random.default_rng(0)
FIXTURE = PARITY / "maskrcnn_resnet50_fpn.weights.npz"
# Names of the same tensor in torchvision before 0.13 and since.
RENAMED = {
    "backbone.fpn.inner_blocks.0.weight": "backbone.fpn.inner_blocks.0.0.weight",
    "backbone.fpn.layer_blocks.3.bias": "backbone.fpn.layer_blocks.3.0.bias",
    "rpn.head.conv.weight": "rpn.head.conv.0.0.weight",
    "roi_heads.mask_head.mask_fcn1.weight": "roi_heads.mask_head.0.0.weight",
    "roi_heads.mask_head.mask_fcn4.bias": "roi_heads.mask_head.3.0.bias",
}


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def state_dict_shapes():
    """Returns `{name: shape}` of torchvision's state dict."""
    with np.load(FIXTURE) as fixture:
        names = [key.partition("/") for key in fixture.files]
        return {
            name: tuple(fixture[f"shape/{name}"]) if kind == "scale" else fixture[f"1d/{name}"].shape
            for kind, _, name in names
            if kind in ("1d", "scale")
        }


def test_x_and_y_change_places_in_each_group_of_four():
    np.testing.assert_array_equal(swap_xy(np.arange(8)), [1, 0, 3, 2, 5, 4, 7, 6])
    assert swap_xy(normal(8, 5, 1, 1)).shape == (8, 5, 1, 1)


def test_a_convolution():
    kernel, image = normal(2, 3, 3, 3), normal(3, 3, 3)  # OIHW, CHW
    expected = np.einsum("oihw,ihw->o", kernel, image)
    layer = keras.layers.Conv2D(2, 3, use_bias=False)
    layer.build((None, 3, 3, 3))
    layer.kernel.assign(TRANSPOSITIONS["conv"](kernel))
    np.testing.assert_allclose(layer(image.transpose(1, 2, 0)[None])[0, 0, 0], expected, rtol=1e-4)


def test_a_depthwise_convolution():
    kernel, image = normal(4, 1, 3, 3), normal(4, 3, 3)
    layer = keras.layers.DepthwiseConv2D(3, use_bias=False)
    layer.build((None, 3, 3, 4))
    layer.kernel.assign(TRANSPOSITIONS["depthwise_conv"](kernel))
    expected = (kernel[:, 0] * image).sum(axis=(1, 2))
    np.testing.assert_allclose(layer(image.transpose(1, 2, 0)[None])[0, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution():
    kernel, pixel = normal(3, 2, 2, 2), normal(3)  # IOHW: each input pixel becomes 2 x 2
    layer = keras.layers.Conv2DTranspose(2, 2, 2, use_bias=False)
    layer.build((None, 1, 1, 3))
    layer.kernel.assign(TRANSPOSITIONS["transposed_conv"](kernel))
    expected = np.einsum("i,iohw->hwo", pixel, kernel)
    np.testing.assert_allclose(layer(pixel[None, None, None])[0], expected, rtol=1e-4, atol=1e-5)


def test_a_linear_layer():
    weight, x = normal(5, 3), normal(3)
    np.testing.assert_allclose(x @ TRANSPOSITIONS["dense"](weight), weight @ x, rtol=1e-5)


def test_the_linear_layer_behind_a_flattened_roi():
    weight, pooled = normal(5, 4 * 3 * 3), normal(4, 3, 3)  # [out, C P P], CHW
    ours = pooled.transpose(1, 2, 0).reshape(-1) @ flattened_dense(3)(weight)
    np.testing.assert_allclose(ours, weight @ pooled.reshape(-1), rtol=1e-4, atol=1e-5)


def test_a_convolution_of_one_pixel_as_a_matrix():
    weight, x = normal(5, 3, 1, 1), normal(3)
    np.testing.assert_allclose(x @ TRANSPOSITIONS["pointwise"](weight), weight[:, :, 0, 0] @ x, rtol=1e-5)


@pytest.mark.parametrize(("name", "sides"), [("deltas_dense", ()), ("deltas_conv", (1, 1)), ("deltas", None)])
def test_deltas_come_out_as_y_before_x(name, sides):
    theirs = normal(8) if sides is None else normal(8, 3, *sides)  # (dx, dy, dw, dh) of two classes
    ours = TRANSPOSITIONS[name](theirs)
    outputs = ours[..., [1, 0, 3, 2, 5, 4, 7, 6]]
    np.testing.assert_array_equal(np.moveaxis(outputs, -1, 0).ravel(), theirs.ravel())


def test_the_first_row_that_matches_a_whole_name_counts():
    table = [
        (r"block(\d)\.weight", r"part/layer\1/kernel", "dense"),
        (r"block1\.weight", "never", "same"),
        (r"norm", "part/norm/gamma", "same"),
    ]
    state = {
        "block1.weight": np.ones([2, 3]),
        "norm": np.ones(2),
        "norm.more": np.ones(1),
        "steps": np.ones(1),
    }
    arrays = translate(state, table, ignored=("steps",))
    assert {name: array.shape for name, array in arrays.items()} == {
        "part/layer1/kernel": (3, 2),
        "part/norm/gamma": (2,),
        "norm.more": (1,),  # remains, so that the error lists it
    }


def test_every_tensor_of_torchvision_has_its_place(resnet50_parts):
    shapes = state_dict_shapes()
    zero = np.zeros([], "float32")
    arrays = translate({name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}, TABLE, IGNORED)
    expected = {name: tuple(variable.shape) for name, variable in variables(resnet50_parts).items()}
    assert {name: array.shape for name, array in arrays.items()} == expected


@pytest.mark.parametrize(("older", "newer"), RENAMED.items())
def test_older_and_newer_names_are_the_same_tensor(older, newer):
    assert translate({older: np.ones(4)}, TABLE).keys() == translate({newer: np.ones(4)}, TABLE).keys()
    assert list(translate({older: np.ones(4)}, TABLE)) != [older]


def test_the_counters_of_torch_are_ignored():
    assert not translate({"backbone.body.bn1.num_batches_tracked": np.ones([])}, TABLE, IGNORED)


def test_converting_gives_a_model_its_weights(tiny_config):
    parts = build_parts(tiny_config)
    state = {f"theirs.{name}": normal(*variable.shape) for name, variable in variables(parts).items()}
    convert(parts, state, [(r"theirs\.(.*)", r"\1", "same")])
    for name, variable in variables(parts).items():
        np.testing.assert_array_equal(variable, state[f"theirs.{name}"])


def test_a_name_without_a_row_and_a_wrong_shape_are_listed(tiny_parts):
    state = {
        "theirs.extra": np.ones(3),
        "rpn.head.bbox_pred.bias": np.ones(7),
        "rpn.head.conv.weight": np.ones(3),
    }
    with pytest.raises(ValueError) as caught:
        convert(tiny_parts, state, TABLE, source="a.pth")
    message = str(caught.value)
    assert "The weights of a.pth do not fit the model" in message
    assert "1 unknown to the model:\n    theirs.extra" in message
    assert "rpn_head/deltas/bias: (7,) in the file, (12,) in the model" in message
    assert "rpn_head/conv0/kernel: (3,) in the file, (3, 3, 16, 16) in the model" in message
