"""The heads: RPN, boxes, masks."""

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.mask_variants import ChosenMasks, CompetingMasks, EveryMask
from mask_rcnn.layers.masks import MaskDeconv, MaskPredictor
from mask_rcnn.networks.inputs import feature_input

# Standard deviations of the initial weights: Fast R-CNN, section 2.3, and Faster R-CNN, section 3.1.3.
STD_DEFAULT, STD_BOX = 0.01, 0.001


def rpn_head(in_channels, channels=256, num_anchors=3, convs=1):
    """Builds the region proposal network's head (Faster R-CNN, figure 3), shared by all levels.

    Args:
        in_channels: of the pyramid.
        channels: of the 3x3 convolutions.
        num_anchors: anchors of each cell, A.
        convs: how many 3x3 convolutions.

    Returns:
        A `keras.Model`: `[B, H, W, C]` to objectness logits `[B, H, W, A]` and deltas `[B, H, W, A * 4]`,
        (dy, dx, dh, dw) of each anchor.
    """
    features = x = feature_input((None, None, in_channels), "features")

    def conv(filters, side, layer_name, activation=None):
        # One initializer for each layer: each object draws the same numbers again.
        normal = keras.initializers.RandomNormal(stddev=STD_DEFAULT)
        return ConvNorm(filters, side, activation=activation, kernel_initializer=normal, name=layer_name)

    for index in range(convs):
        x = conv(channels, 3, f"conv{index}", "relu")(x)
    logits = conv(num_anchors, 1, "objectness")(x)
    deltas = conv(num_anchors * 4, 1, "deltas")(x)
    return keras.Model(features, [logits, deltas], name="rpn_head")


def hidden_convs(convs, channels, norm="none", norm_epsilon=1e-5):
    """Returns the 3x3 convolutions `conv1`, `conv2`, ... that `box_head` and `mask_head` may begin with.

    Args:
        convs: how many.
        channels: of each of them.
        norm, norm_epsilon: see `ConvNorm`.
    """
    arguments = {"norm": norm, "norm_epsilon": norm_epsilon, "activation": "relu"}
    return [ConvNorm(channels, 3, name=f"conv{index}", **arguments) for index in range(1, convs + 1)]


def box_head(
    pooled_shape,
    convs=(),
    dense_units=(1024, 1024),
    num_outputs=81,
    average_pool=False,
    class_agnostic=False,
    name="box_head",
):
    """Builds the second stage's head: hidden layers, a class and a box (FPN, section 4.2).

    Args:
        pooled_shape: (P, P, C), of the pooled features.
        convs: of `hidden_convs` (Wu and He 2018, section 5.2: four, and one dense layer).
        dense_units: sizes of the dense hidden layers.
        num_outputs: classes with the background, K + 1.
        average_pool: over the RoI, instead of flattening it (He et al. 2016, appendix A).
        class_agnostic: there is one box for all classes.
        name: of the model.

    Returns:
        A `keras.Model`: `[R, P, P, C]` to class logits `[R, K + 1]`, background first, and deltas
        `[R, (K + 1) * 4]`, (dy, dx, dh, dw) of each class, those of the background never used; or `[R, 4]`.
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
        normal = keras.initializers.RandomNormal(stddev=stddev)
        return keras.layers.Dense(units, kernel_initializer=normal, name=layer_name)

    logits = predictor(num_outputs, STD_DEFAULT, "class_logits")(x)
    deltas = predictor(4 if class_agnostic else 4 * num_outputs, STD_BOX, "deltas")(x)
    return keras.Model(pooled, [logits, deltas], name=name)


def mask_head(pooled_shape, convs=(), channels=256, num_outputs=81, competing=False):
    """Builds the fully convolutional mask branch (Mask R-CNN, figure 4).

    Args:
        pooled_shape: (P, P, C), of the pooled features.
        convs: Layers of `hidden_convs`: four after an FPN, none after the fifth stage (figure 4).
        channels: Channels of the deconvolution.
        num_outputs: Classes with the background, K + 1; 1 is one mask for all classes.
        competing: Whether the classes compete for each pixel (table 2b, "softmax"). Defaults to False.

    Returns:
        A `keras.Model`: features `[R, P, P, C]` and class ids `[R]` to mask logits `[R, 2P, 2P]`, or
        `[R, 2P, 2P, 2]` of `CompetingMasks`.
    """
    pooled, class_ids, x = _mask_inputs(pooled_shape, convs)
    x = MaskDeconv(channels, name="deconv")(x)
    if competing:
        masks = CompetingMasks(name="competing")(EveryMask(num_outputs, name="predictor")(x), class_ids)
    else:
        masks = MaskPredictor(num_outputs, name="predictor")(x, class_ids)
    return keras.Model([pooled, class_ids], masks, name="mask_head")


def mlp_mask_head(pooled_shape, convs=(), dense_units=(1024, 1024), num_outputs=81, competing=False):
    """Builds the mask branch of fully connected layers (Mask R-CNN, table 2e).

    Args:
        pooled_shape, convs, num_outputs, competing: See `mask_head`.
        dense_units: Sizes of the hidden layers: (1024, 1024) and (1024, 1024, 1024) in the table.

    Returns:
        A `keras.Model`, see `mask_head`.
    """
    pooled, class_ids, x = _mask_inputs(pooled_shape, convs)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"fc{index}")(x)
    side = 2 * pooled_shape[0]
    normal = keras.initializers.RandomNormal(stddev=STD_BOX)
    x = keras.layers.Dense(side * side * num_outputs, kernel_initializer=normal, name="predictor")(x)
    x = keras.layers.Reshape((side, side, num_outputs), name="masks")(x)
    choose = CompetingMasks(name="competing") if competing else ChosenMasks(name="chosen")
    return keras.Model([pooled, class_ids], choose(x, class_ids), name="mask_head")


def _mask_inputs(pooled_shape, convs):
    """Returns the inputs of a mask branch, features and class ids, and the features after `convs`."""
    pooled = x = feature_input(pooled_shape, "pooled")
    class_ids = keras.Input((), dtype="int32", name="class_ids")
    for conv in convs:
        x = conv(x)
    return pooled, class_ids, x
