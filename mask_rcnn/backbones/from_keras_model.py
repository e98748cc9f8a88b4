"""Converts any functional `keras.Model` to a backbone. Reads strides, stages and names from its graph."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.backbones.backbone import Backbone
from mask_rcnn.config import BackboneConfig
from mask_rcnn.networks.inputs import feature_input
from mask_rcnn.ops.tensor import Shape, Tensor

PROBE_SIDE = 512  # side of the symbolic image whose map sizes give the strides, pixels
MAX_STRIDE = 64
PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)
NORMS = {"frozen_batch_norm": False, "batch_norm": True}  # whether batch normalizations are trainable


@keras.saving.register_keras_serializable(package="mask_rcnn")
class ReverseChannels(keras.layers.Layer):
    """Converts RGB to BGR, the channel order of networks trained in Caffe."""

    def call(self, images: Tensor) -> Tensor:
        return tf.reverse(images, axis=[-1])

    def compute_output_shape(self, images_shape: Shape) -> Shape:
        return images_shape


def from_keras_model(
    model: keras.Model,
    config: BackboneConfig,
    *,
    outputs: Sequence[keras.KerasTensor] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    bgr: bool = False,
    load: Callable[[str], keras.Model] | None = None,
) -> Backbone:
    """Creates a backbone from a functional `keras.Model`. The model itself is not changed.

    Leading `Rescaling` and `Normalization` layers are removed and replaced by `input.mean` and `input.std`.
    Pixels are then normalized once, and padding is 0 afterwards, as for every backbone.

    A layer belongs to stage `log2(stride of its output)`, at least 1. It is trainable if its stage is above
    `config.frozen_stages`. With `config.norm="frozen_batch_norm"` no `BatchNormalization` is trainable. Keras
    runs batch normalizations with `trainable=False` in inference mode.

    Args:
        model: `keras.Model` from `[B, H, W, 3]` with H and W None. The backbone gets its weights.
        config: `BackboneConfig`. `norm` must be "frozen_batch_norm" or "batch_norm".
        outputs: Tensors of the model to use as maps, finest first. Defaults to the last tensor of each stride
            from 2 to 64.
        mean, std: Normalization that the model expects, three numbers each, for RGB in 0..255. Default to
            that of its leading layers, or to None (unknown) if it has none.
        bgr: Whether the model expects BGR. Defaults to False.
        load: Function of `backbone.weights` that returns a model of the same layers with published weights.
            Defaults to None.

    Returns:
        A `Backbone`.

    Raises:
        ValueError: If the model has other inputs, or `config.norm` is not supported.
    """
    _check_model(model, config)
    layers, start = _leading_preprocessing(model)
    if layers and mean is None:
        mean, std = normalization_of(lambda pixels: _apply(layers, pixels))[:2]
    strides = _strides(model)
    outputs = _last_of_each_stride(model, strides) if outputs is None else outputs
    trunk = keras.Model(start, outputs)
    names = _stable_names(trunk)
    network = _renamed_copy(trunk, names)
    stages = {names.get(op.name, op.name): max(1, stride.bit_length() - 1) for op, _, stride in strides}
    _freeze(network, stages, config)

    return Backbone(
        model=_joined(network, bgr),
        strides=tuple(_stride_of(strides, tensor) for tensor in outputs),
        mean=mean,
        std=std,
        fixed_normalization=mean is not None,
        load=load and functools.partial(_load_published, network, load),
    )


def _load_published(network: keras.Model, load: Callable[[str], keras.Model], weights: str) -> None:
    """Copies the weights of `load(weights)` to `network`, which has the same layers."""
    published = load(weights)
    trunk = keras.Model(
        _leading_preprocessing(published)[1], _last_of_each_stride(published, _strides(published))
    )
    network.set_weights(trunk.get_weights())


def normalization_of(
    function: Callable[[np.ndarray], Any],
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Returns `(mean, std, bgr)` such that `function(pixel) = (pixel - mean) / std`.

    They are measured by calling the function with black, red, green and blue.

    Args:
        function: Function from a NumPy array `[N, 1, 1, 3]` of RGB in 0..255 to the same shape. It must scale
            and shift each channel, and may reverse their order.

    Returns:
        Tuple of mean and std, three numbers each, RGB, and whether the function converts to BGR.
    """
    colors = np.concatenate([np.zeros([1, 3]), 255 * np.eye(3)]).astype("float32")
    outputs = np.asarray(function(colors[:, None, None].copy()), "float64")[:, 0, 0]  # [4, 3]
    slopes = (outputs[1:] - outputs[0]) / 255  # [RGB, output channel]
    bgr = bool(abs(slopes[0, 2]) > abs(slopes[0, 0]))
    black = outputs[0, ::-1] if bgr else outputs[0]
    scale = np.diag(slopes[:, ::-1] if bgr else slopes)
    mean, std = ([float(f"{x:.6g}") + 0.0 for x in values] for values in (-black / scale, 1 / scale))
    return tuple(mean), tuple(std), bgr


def _check_model(model, config):
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or shape[1:] != (None, None, 3):
        raise ValueError(
            "A backbone must be a functional `keras.Model` with one input of shape (None, None, None, 3). "
            f"Received: input_shape={shape}. Build it from `keras.Input((None, None, 3))`."
        )
    if config.norm not in NORMS:
        raise ValueError(
            f"`backbone.norm` of a backbone that is a Keras model must be one of {', '.join(NORMS)}. "
            f"Received: backbone.norm={config.norm!r}. Normalizations of other kinds are not changed."
        )


def _leading_preprocessing(model):
    """Returns the leading layers that only normalize pixels, and the tensor after them."""
    layers = []
    for operation in model.operations[1:]:
        if not isinstance(operation, PREPROCESSING):
            break
        layers.append(operation)
    return layers, layers[-1].output if layers else model.inputs[0]


def _apply(layers, pixels):
    for layer in layers:
        pixels = layer(pixels)
    return pixels


def _strides(model):
    """Returns a list of (operation, output, stride) for each map of the graph, in the order of the graph."""
    maps = [(op, op.output) for op in model.operations[1:] if _is_map(op.output)]
    probe = keras.Model(model.inputs, [tensor for _, tensor in maps])
    specs = probe.compute_output_spec(keras.KerasTensor((1, PROBE_SIDE, PROBE_SIDE, 3)))
    strides = []
    for (operation, tensor), spec in zip(maps, specs, strict=True):
        height = spec.shape[1]
        stride = 2 ** round(np.log2(PROBE_SIDE / height))
        if stride <= MAX_STRIDE:
            strides.append((operation, tensor, stride))
    return strides


def _is_map(output):
    return isinstance(output, keras.KerasTensor) and len(output.shape) == 4


def _last_of_each_stride(model, strides):
    last = {}
    for operation, tensor, stride in strides:
        if stride > 1 and not isinstance(operation, keras.layers.ZeroPadding2D):
            last[stride] = tensor
    outputs = [last[stride] for stride in sorted(last)]
    probe = keras.Model(model.inputs, outputs)
    sides = [
        x.shape[1] for x in probe.compute_output_spec([keras.KerasTensor((1, PROBE_SIDE, PROBE_SIDE, 3))])
    ]
    smaller = [
        f"stride {stride}: {side} of {PROBE_SIDE // stride}"
        for stride, side in zip(sorted(last), sides, strict=True)
        if side != PROBE_SIDE // stride
    ]
    if smaller:
        logging.warning(
            "%s has convolutions without padding, so its maps are shifted and smaller than image / stride "
            "(%s). Boxes and masks will be less accurate.",
            model.name,
            "; ".join(smaller),
        )
    return outputs


def _stride_of(strides, output):
    return next(stride for _, tensor, stride in strides if tensor is output)


def _stable_names(model):
    """Returns `{name: new name}` for layers with automatic names. New names are the same in every process.

    Keras numbers automatic names through the whole process, but weights are stored by layer name.
    """
    counts, names = {}, {}
    for layer in model.layers:
        prefix = _snake_case(type(layer).__name__)
        if layer.weights and re.fullmatch(rf"{re.escape(prefix)}(_\d+)?", layer.name):
            names[layer.name] = f"{prefix}_{counts.get(prefix, 0)}"
            counts[prefix] = counts.get(prefix, 0) + 1
    return names


def _renamed_copy(model, names):
    def copy(layer):
        config = layer.get_config()
        return type(layer).from_config({**config, "name": names.get(layer.name, layer.name)})

    images = feature_input((None, None, 3), "images")
    clone = keras.models.clone_model(model, input_tensors=images, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def _snake_case(name):
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"\W+|(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


def _freeze(model, stages, config):
    stage = 1
    for layer in model.layers:
        stage = stages.get(layer.name, stage)
        layer.trainable = stage > config.frozen_stages
    if not NORMS[config.norm]:
        _freeze_batch_norms(model)


def _freeze_batch_norms(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.trainable = False
    for inner in getattr(layer, "layers", ()):
        _freeze_batch_norms(inner)


def _joined(network, bgr):
    images = feature_input((None, None, 3), "images")
    x = ReverseChannels(name="bgr")(images) if bgr else images
    return keras.Model(images, keras.tree.flatten(network(x)), name="backbone")
