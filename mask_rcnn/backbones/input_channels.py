"""Backbones for images with other than three channels: the same networks with inflated kernels.

The rule is that of timm's `adapt_input_conv`: for one channel, the kernels of red, green and blue are summed;
for N channels they are copied in turn and multiplied by 3 / N, so that the sum of all stays about the same.
"""

import dataclasses

import keras
import numpy as np

from mask_rcnn.backbones.graph import ReverseChannels
from mask_rcnn.networks.inputs import feature_input
from mask_rcnn.terminal import say

RGB = 3  # channels that published weights are for


def with_channels(backbone, channels):
    """Returns a backbone for images with `channels`, whose weights are inflated from RGB.

    Its `mean` and `std` are those of red, green and blue in turn, or their mean for one channel.

    Args:
        backbone: A `Backbone`. One that takes this number of channels is returned as it is.
        channels: Number of channels.

    Raises:
        ValueError: A layer cannot take so many channels, or more than the first convolution would change.
    """
    model = backbone.model
    if model.input_shape[-1] == channels:
        return backbone
    network = model.layers[-1] if isinstance(model.layers[-1], keras.Model) else model
    is_bgr = any(isinstance(layer, ReverseChannels) for layer in model.layers)
    copy = _copied(network, channels)
    _take_inflated(network, copy, is_bgr)

    def load(weights):
        backbone.load(weights)
        report_inflation(_take_inflated(network, copy, is_bgr))

    return dataclasses.replace(
        backbone,
        model=copy if network is model else _as_backbone(copy, channels),
        mean=_in_turn(backbone.mean, channels),
        std=_in_turn(backbone.std, channels),
        fixed_normalization=False,  # what other sensors measure has statistics of its own
        load=backbone.load and load,
    )


def inflated(kernel, shape, bgr=False):
    """Returns the kernel of a convolution of RGB for more or fewer channels; other arrays as they are.

    Args:
        kernel: `[h, w, 3, F]`, or any other array.
        shape: Shape that is wanted, such as `(h, w, N, F)`.
        bgr: Whether the kernel is for BGR; the result is for RGB and further channels. Defaults to False.
    """
    is_stem = len(shape) == 4 and kernel.shape == (*shape[:2], RGB, shape[3]) and shape[2] != RGB
    if not is_stem:
        return kernel
    kernel = kernel[:, :, ::-1] if bgr else kernel
    if shape[2] == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(shape[2]) % RGB] * (RGB / shape[2])


def inflated_arrays(arrays, wanted):
    """Returns `{name: array}` with inflated kernels, which is reported.

    Args:
        arrays: `{name: array}` of weights for RGB.
        wanted: `{name: keras.Variable}` of a model.
    """
    result = {
        name: inflated(array, tuple(wanted[name].shape)) if name in wanted else array
        for name, array in arrays.items()
    }
    report_inflation([wanted[name] for name in arrays if result[name] is not arrays[name]])
    return result


def report_inflation(kernels):
    """Prints that kernels are inflated, and whether they are frozen.

    Args:
        kernels: `keras.Variable`s `[h, w, N, F]`; none print nothing.
    """
    if not kernels:
        return
    channels = kernels[0].shape[2]
    how = "summed" if channels == 1 else f"copied in turn, times {RGB}/{channels}"
    is_frozen = not any(kernel.trainable for kernel in kernels)
    advice = " It is frozen; `backbone.frozen_stages=0` lets it learn." if is_frozen else ""
    say(f"The first kernel is inflated from {RGB} channels to {channels}: {how}.{advice}")


def _copied(network, channels):
    """Returns the network for another number of channels, with random weights."""
    images = feature_input((None, None, channels), "images")
    try:
        return keras.models.clone_model(
            network,
            input_tensors=images,
            clone_function=lambda layer: type(layer).from_config(layer.get_config()),
        )
    except ValueError as error:
        raise _not_possible(channels, str(error)) from error


def _take_inflated(source, target, bgr):
    """Gives a network the inflated weights of another one; returns the variables that are inflated."""
    arrays = [
        inflated(np.asarray(variable), tuple(wanted.shape), bgr)
        for variable, wanted in zip(source.weights, target.weights, strict=True)
    ]
    pairs = list(zip(arrays, source.weights, target.weights, strict=True))
    if wrong := [each.path for array, _, each in pairs if array.shape != tuple(each.shape)]:
        raise _not_possible(target.input_shape[-1], f"other shapes of {', '.join(wrong[:3])}")
    target.set_weights(arrays)
    return [each for _, before, each in pairs if before.shape != each.shape]


def _not_possible(channels, reason):
    return ValueError(
        f"The weights of a backbone are inflated in its first convolutions only. Received: input.channels="
        f"{channels}, with which other layers would change, too ({' '.join(reason.split())[:200]}). Choose "
        "another `backbone.name`, or register one for this number of channels."
    )


def _as_backbone(network, channels):
    images = feature_input((None, None, channels), "images")
    return keras.Model(images, keras.tree.flatten(network(images)), name="backbone")


def _in_turn(numbers, channels):
    if numbers is None:
        return None
    if channels == 1:
        return (sum(numbers) / RGB,)
    return tuple(numbers[channel % RGB] for channel in range(channels))
