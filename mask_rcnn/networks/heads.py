"""Networks of the RPN head, the box head and the mask head."""

from collections.abc import Sequence
from typing import Any

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.mask_variants import AllClassMaskPredictor, SelectClassMask, SoftmaxMasks
from mask_rcnn.layers.masks import MaskDeconv, MaskPredictor
from mask_rcnn.networks.inputs import feature_input

# Standard deviations of the initial weights: Fast R-CNN, section 2.3, and Faster R-CNN, section 3.1.3.
STD_DEFAULT, STD_BOX = 0.01, 0.001


def rpn_head(in_channels: int, *, channels: int = 256, num_anchors: int = 3, convs: int = 1) -> keras.Model:
    """Builds the head of the region proposal network (Faster R-CNN, figure 3), shared by all levels.

    Args:
        in_channels: Channels of the pyramid.
        channels: Channels of the 3x3 convolutions. Defaults to 256.
        num_anchors: Anchors per cell, A. Defaults to 3.
        convs: Number of 3x3 convolutions. Defaults to 1.

    Returns:
        A `keras.Model`: `[B, H, W, C]` to objectness logits `[B, H, W, A]` and deltas `[B, H, W, A * 4]`,
        (dy, dx, dh, dw) of each anchor.
    """
    features = x = feature_input((None, None, in_channels), "features")

    def conv(filters, side, layer_name, activation=None):
        # A new initializer for each layer: one object would return the same numbers in every call.
        normal = keras.initializers.RandomNormal(stddev=STD_DEFAULT)
        return ConvNorm(filters, side, activation=activation, kernel_initializer=normal, name=layer_name)

    for index in range(convs):
        x = conv(channels, 3, f"conv{index}", "relu")(x)
    logits = conv(num_anchors, 1, "objectness")(x)
    deltas = conv(num_anchors * 4, 1, "deltas")(x)
    return keras.Model(features, [logits, deltas], name="rpn_head")


def hidden_convs(
    convs: int, channels: int, *, norm: str = "none", norm_epsilon: float = 1e-5
) -> list[keras.Layer]:
    """Returns the hidden 3x3 convolutions `conv1`, `conv2`, ... at the start of `box_head` and `mask_head`.

    Args:
        convs: Number of convolutions.
        channels: Channels of each convolution.
        norm, norm_epsilon: Normalization, see `ConvNorm`. Defaults to "none".

    Returns:
        List of `ConvNorm` with ReLU.
    """
    arguments = {"norm": norm, "norm_epsilon": norm_epsilon, "activation": "relu"}
    return [ConvNorm(channels, 3, name=f"conv{index}", **arguments) for index in range(1, convs + 1)]


def box_head(
    pooled_shape: tuple[int, int, int],
    convs: Sequence[keras.Layer] = (),
    *,
    dense_units: Sequence[int] = (1024, 1024),
    num_outputs: int = 81,
    average_pool: bool = False,
    class_agnostic: bool = False,
    name: str = "box_head",
) -> keras.Model:
    """Builds the box head of the second stage: hidden layers, class logits and deltas (FPN, section 4.2).

    Args:
        pooled_shape: (P, P, C), the shape of the pooled features of one RoI.
        convs: Layers of `hidden_convs`. Defaults to none. Wu and He 2018, section 5.2: four, and one dense
            layer.
        dense_units: Units of each hidden dense layer. Defaults to (1024, 1024).
        num_outputs: Number of classes including background, K + 1. Defaults to 81.
        average_pool: Whether to average the features over the RoI instead of flattening them (He et al. 2016,
            appendix A). Defaults to False.
        class_agnostic: Whether to predict one box for all classes. Defaults to False.
        name: Name of the model. Defaults to "box_head".

    Returns:
        A `keras.Model`: `[R, P, P, C]` to class logits `[R, K + 1]`, background first, and deltas. The deltas
        are `[R, (K + 1) * 4]`, (dy, dx, dh, dw) of each class, of which those of the background are never
        used; or `[R, 4]` if class-agnostic.
    """
    pooled = x = feature_input(pooled_shape, "pooled")
    for conv in convs:
        x = conv(x)
    if average_pool:
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    else:
        x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"fc{index}")(x)

    def predictor(units, stddev, layer_name):
        normal: Any = keras.initializers.RandomNormal(stddev=stddev)  # Any: Keras's default is a string
        return keras.layers.Dense(units, kernel_initializer=normal, name=layer_name)

    logits = predictor(num_outputs, STD_DEFAULT, "class_logits")(x)
    deltas = predictor(4 if class_agnostic else 4 * num_outputs, STD_BOX, "deltas")(x)
    return keras.Model(pooled, [logits, deltas], name=name)


def mask_head(
    pooled_shape: tuple[int, int, int],
    convs: Sequence[keras.Layer] = (),
    *,
    channels: int = 256,
    num_outputs: int = 81,
    competing: bool = False,
) -> keras.Model:
    """Builds the fully convolutional mask branch (Mask R-CNN, figure 4).

    Args:
        pooled_shape: (P, P, C), the shape of the pooled features of one RoI.
        convs: Layers of `hidden_convs`: four after an FPN, none after the fifth stage (figure 4). Defaults to
            none.
        channels: Channels of the deconvolution. Defaults to 256.
        num_outputs: Number of classes including background, K + 1; or 1 for class-agnostic masks. Defaults to
            81.
        competing: Whether to use a softmax over the classes of each pixel (table 2b, "softmax"). Defaults to
            False.

    Returns:
        A `keras.Model`: features `[R, P, P, C]` and class ids `[R]` to mask logits `[R, 2P, 2P]`; or to
        `[R, 2P, 2P, 2]` of `SoftmaxMasks` if `competing`.
    """
    pooled, class_ids, x = _mask_inputs(pooled_shape, convs)
    x = MaskDeconv(channels, name="deconv")(x)
    if competing:
        masks = SoftmaxMasks(name="competing")(
            AllClassMaskPredictor(num_outputs, name="predictor")(x), class_ids
        )
    else:
        masks = MaskPredictor(num_outputs, name="predictor")(x, class_ids)
    return keras.Model([pooled, class_ids], masks, name="mask_head")


def mlp_mask_head(
    pooled_shape: tuple[int, int, int],
    convs: Sequence[keras.Layer] = (),
    *,
    dense_units: Sequence[int] = (1024, 1024),
    num_outputs: int = 81,
    competing: bool = False,
) -> keras.Model:
    """Builds the mask branch of fully connected layers (Mask R-CNN, table 2e).

    Args:
        pooled_shape, convs, num_outputs, competing: See `mask_head`.
        dense_units: Units of each hidden layer. The table has (1024, 1024), the default, and
            (1024, 1024, 1024).

    Returns:
        A `keras.Model`, see `mask_head`.
    """
    pooled, class_ids, x = _mask_inputs(pooled_shape, convs)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"fc{index}")(x)
    side = 2 * pooled_shape[0]
    normal: Any = keras.initializers.RandomNormal(stddev=STD_BOX)
    x = keras.layers.Dense(side * side * num_outputs, kernel_initializer=normal, name="predictor")(x)
    x = keras.layers.Reshape((side, side, num_outputs), name="masks")(x)
    choose = SoftmaxMasks(name="competing") if competing else SelectClassMask(name="chosen")
    return keras.Model([pooled, class_ids], choose(x, class_ids), name="mask_head")


def _mask_inputs(pooled_shape, convs):
    """Returns the inputs of a mask branch (features and class ids), and the features after `convs`."""
    pooled = x = feature_input(pooled_shape, "pooled")
    class_ids = keras.Input((), dtype="int32", name="class_ids")
    for conv in convs:
        x = conv(x)
    return pooled, class_ids, x
