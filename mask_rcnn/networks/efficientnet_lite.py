"""EfficientNet-Lite0 as a backbone: EfficientNet-B0 (Tan and Le 2019, table 1) adapted to mobile devices.

It has no squeeze-and-excitation, ReLU6 instead of swish, and a stem that is not scaled.
"""

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.networks.inputs import feature_input

# Expansion factor, kernel side, stride, output channels and repeats of the stages 1 to 7 in the table.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM_CHANNELS = 32
NORM_EPSILON = 1e-3  # the published weights were trained with it

# The corresponding ResNet stage of each stage above (stem: 1, C2: 2, ...). The last one of each gives C2..C5.
PYRAMID_STAGE = (1, 2, 3, 4, 4, 5, 5)


def efficientnet_lite0(norm: str = "frozen_batch_norm", frozen_stages: int = 0) -> keras.Model:
    """Builds the convolutional part of EfficientNet-Lite0, without its classifier.

    Args:
        norm: Normalization of every convolution, see `ConvNorm`. Defaults to "frozen_batch_norm".
        frozen_stages: Number of stages that are not trained, counted from the stem: stem, C2, C3, ...
            Defaults to 0.

    Returns:
        A `keras.Model`: `[B, H, W, 3]`, normalized, to the list C2..C5 with 24, 40, 112 and 320 channels
        and strides 4, 8, 16 and 32. Layers are named `stem`, `block0_depthwise`, ...
    """

    def conv(filters, size, strides=1, *, activation: str | None = "relu6", layer_name, stage):
        return ConvNorm(
            filters,
            size,
            strides,
            padding="same",
            norm=norm,
            norm_epsilon=NORM_EPSILON,
            activation=activation,
            name=layer_name,
            trainable=stage > frozen_stages,
        )

    def block(x, expansion, size, strides, filters, prefix, stage):
        shortcut = x
        if expansion > 1:
            channels = expansion * x.shape[-1]
            x = conv(channels, 1, layer_name=f"{prefix}_expand", stage=stage)(x)
        x = conv(None, size, strides, layer_name=f"{prefix}_depthwise", stage=stage)(x)
        x = conv(filters, 1, activation=None, layer_name=f"{prefix}_project", stage=stage)(x)
        if strides == 1 and shortcut.shape[-1] == filters:
            x = keras.layers.Add(name=f"{prefix}_add")([x, shortcut])
        return x

    images = feature_input((None, None, 3), "images")
    x = conv(STEM_CHANNELS, 3, 2, layer_name="stem", stage=1)(images)
    outputs, index = {}, 0
    for (expansion, size, strides, filters, repeats), stage in zip(STAGES, PYRAMID_STAGE, strict=True):
        for repeat in range(repeats):
            first = strides if repeat == 0 else 1
            x = block(x, expansion, size, first, filters, f"block{index}", stage)
            index += 1
        outputs[stage] = x
    return keras.Model(images, [outputs[stage] for stage in (2, 3, 4, 5)], name="backbone")
