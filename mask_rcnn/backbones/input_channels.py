"""Backbones for images without three channels: the same networks with inflated kernels.

The rule is that of timm's `adapt_input_conv`. For one channel, the kernels of red, green and blue are summed.
For N channels they are repeated cyclically and multiplied by 3 / N. The sum over all channels then stays
about the same.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from mask_rcnn.backbones.backbone import Backbone
from mask_rcnn.backbones.from_keras_model import ReverseChannels
from mask_rcnn.networks.inputs import feature_input
from mask_rcnn.system.terminal import print_line

RGB = 3  # input channels of published weights


def with_channels(backbone: Backbone, channels: int) -> Backbone:
    """Returns a backbone for images with `channels` channels, with weights inflated from RGB.

    Its `mean` and `std` are those of red, green and blue, repeated cyclically; for one channel, their
    average.

    Args:
        backbone: A `Backbone`. It is returned unchanged if it already has this number of channels.
        channels: Number of channels.

    Raises:
        ValueError: If a layer cannot take this number of channels, or if more than the first convolution
            would change.
    """
    model = backbone.model
    if model.input_shape[-1] == channels:
        return backbone
    network = model.layers[-1] if isinstance(model.layers[-1], keras.Model) else model
    is_bgr = any(isinstance(layer, ReverseChannels) for layer in model.layers)
    copy = _copied(network, channels)
    _copy_inflated(network, copy, is_bgr)
    load_rgb = backbone.load

    def load(weights):
        if load_rgb is not None:
            load_rgb(weights)
        report_inflation(_copy_inflated(network, copy, is_bgr))

    return dataclasses.replace(
        backbone,
        model=copy if network is model else _as_backbone(copy, channels),
        mean=_repeated(backbone.mean, channels),
        std=_repeated(backbone.std, channels),
        fixed_normalization=False,  # channels of other sensors have their own mean and std
        load=load if load_rgb else None,
    )


def inflated(kernel: np.ndarray, shape: tuple[int, ...], bgr: bool = False) -> np.ndarray:
    """Returns the kernel of a first convolution for RGB, converted to another number of channels.

    Other arrays are returned unchanged.

    Args:
        kernel: `[h, w, 3, F]`, or any other array.
        shape: Shape of the result, such as `(h, w, N, F)`.
        bgr: Whether the kernel is for BGR. The result is always for RGB, then further channels. Defaults to
            False.
    """
    is_stem = len(shape) == 4 and kernel.shape == (*shape[:2], RGB, shape[3]) and shape[2] != RGB
    if not is_stem:
        return kernel
    kernel = kernel[:, :, ::-1] if bgr else kernel
    if shape[2] == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(shape[2]) % RGB] * (RGB / shape[2])


def inflated_arrays(
    arrays: Mapping[str, np.ndarray], variables: Mapping[str, keras.Variable]
) -> dict[str, np.ndarray]:
    """Returns the weights with inflated kernels, `{name: array}`. Prints which kernel was inflated.

    Args:
        arrays: Weights for RGB, `{name: array}`.
        variables: Variables of the target model, `{name: keras.Variable}`.
    """
    result = {
        name: inflated(array, tuple(variables[name].shape)) if name in variables else array
        for name, array in arrays.items()
    }
    report_inflation([variables[name] for name in arrays if result[name] is not arrays[name]])
    return result


def report_inflation(kernels: Sequence[keras.Variable]) -> None:
    """Prints how kernels were inflated, and whether they are frozen.

    Args:
        kernels: List of `keras.Variable`s `[h, w, N, F]`. Nothing is printed if it is empty.
    """
    if not kernels:
        return
    channels = kernels[0].shape[2]
    method = "summed" if channels == 1 else f"copied in turn, times {RGB}/{channels}"
    is_frozen = not any(kernel.trainable for kernel in kernels)
    advice = " It is frozen. Set `backbone.frozen_stages=0` to train it." if is_frozen else ""
    print_line(f"The first kernel is inflated from {RGB} channels to {channels}: {method}.{advice}")


def _copied(network, channels):
    """Returns a copy of the network for another number of channels, with random weights."""
    images = feature_input((None, None, channels), "images")
    try:
        return keras.models.clone_model(
            network,
            input_tensors=images,
            clone_function=lambda layer: type(layer).from_config(layer.get_config()),
        )
    except ValueError as error:
        raise _not_possible(channels, str(error)) from error


def _copy_inflated(source, target, bgr):
    """Copies the inflated weights of `source` to `target`. Returns the list of inflated variables."""
    arrays = [
        inflated(np.asarray(variable), tuple(target_variable.shape), bgr)
        for variable, target_variable in zip(source.weights, target.weights, strict=True)
    ]
    pairs = list(zip(arrays, source.weights, target.weights, strict=True))
    if misshaped := [variable.path for array, _, variable in pairs if array.shape != tuple(variable.shape)]:
        raise _not_possible(target.input_shape[-1], f"other shapes of {', '.join(misshaped[:3])}")
    target.set_weights(arrays)
    return [variable for _, before, variable in pairs if before.shape != variable.shape]


def _not_possible(channels, reason):
    return ValueError(
        "A backbone can take another number of channels only if no layer but its first convolution changes. "
        f"Received: input.channels={channels}, which other layers do not support "
        f"({' '.join(reason.split())[:200]}). Choose another `backbone.name`, or register one that does."
    )


def _as_backbone(network, channels):
    images = feature_input((None, None, channels), "images")
    return keras.Model(images, keras.tree.flatten(network(images)), name="backbone")


def _repeated(numbers, channels):
    if numbers is None:
        return None
    if channels == 1:
        return (sum(numbers) / RGB,)
    return tuple(numbers[channel % RGB] for channel in range(channels))
