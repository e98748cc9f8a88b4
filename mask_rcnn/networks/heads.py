"""The heads: RPN, boxes, masks."""

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.masks import MaskPredictor
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
    normal = keras.initializers.RandomNormal(stddev=STD_DEFAULT)
    for index in range(convs):
        x = ConvNorm(channels, 3, activation="relu", kernel_initializer=normal, name=f"conv{index}")(x)
    logits = ConvNorm(num_anchors, 1, kernel_initializer=normal, name="objectness")(x)
    deltas = ConvNorm(num_anchors * 4, 1, kernel_initializer=normal, name="deltas")(x)
    return keras.Model(features, [logits, deltas], name="rpn_head")


def box_head(in_channels, pool_size=7, dense_units=(1024, 1024), num_outputs=81):
    """Builds the second stage's head: two hidden layers, a class and a box (FPN, section 4.2).

    Args:
        in_channels: of the pooled features.
        pool_size: their side, P.
        dense_units: sizes of the hidden layers.
        num_outputs: classes with the background, K + 1.

    Returns:
        A `keras.Model`: `[R, P, P, C]` to class logits `[R, K + 1]`, background first, and deltas
        `[R, (K + 1) * 4]`, (dy, dx, dh, dw) of each class; those of the background are never used.
    """
    pooled = feature_input((pool_size, pool_size, in_channels), "pooled")
    x = keras.layers.Flatten(name="flatten")(pooled)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"fc{index}")(x)
    logits = keras.layers.Dense(
        num_outputs,
        kernel_initializer=keras.initializers.RandomNormal(stddev=STD_DEFAULT),
        name="class_logits",
    )(x)
    deltas = keras.layers.Dense(
        num_outputs * 4, kernel_initializer=keras.initializers.RandomNormal(stddev=STD_BOX), name="deltas"
    )(x)
    return keras.Model(pooled, [logits, deltas], name="box_head")


def mask_head(in_channels, pool_size=14, convs=4, channels=256, num_outputs=81):
    """Builds the mask branch: convolutions, twice the size, a mask of one class (figure 4, right).

    Args:
        in_channels: of the pooled features.
        pool_size: their side, P.
        convs: how many 3x3 convolutions.
        channels: of each of them.
        num_outputs: classes with the background, K + 1.

    Returns:
        A `keras.Model`: features `[R, P, P, C]` and class ids `[R]` to mask logits `[R, 2P, 2P]`.
    """
    pooled = x = feature_input((pool_size, pool_size, in_channels), "pooled")
    class_ids = keras.Input((), dtype="int32", name="class_ids")
    for index in range(1, convs + 1):
        x = ConvNorm(channels, 3, activation="relu", name=f"conv{index}")(x)
    x = keras.layers.Conv2DTranspose(
        channels, 2, 2, activation="relu", kernel_initializer="he_normal", name="deconv"
    )(x)
    return keras.Model(
        [pooled, class_ids], MaskPredictor(num_outputs, name="predictor")(x, class_ids), name="mask_head"
    )
