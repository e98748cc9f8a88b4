"""ResNet-50 and ResNet-101 (He et al. 2016, table 1) as a backbone: an image in, C2..C5 out."""

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.networks.inputs import feature_input

# Bottleneck blocks of each stage, C2..C5.
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def resnet(name, norm="frozen_batch_norm", norm_epsilon=1e-5, stride_in_1x1=False, frozen_stages=0):
    """Builds the convolutional part of a ResNet.

    Args:
        name: "resnet50" or "resnet101".
        norm, norm_epsilon: of every convolution, see `ConvNorm`.
        stride_in_1x1: the first convolution of a stage strides, as in the original networks of MSRA;
            otherwise the 3x3 does, as in torchvision's.
        frozen_stages: this many of stem, C2, C3, ... do not train.

    Returns:
        A `keras.Model`: `[B, H, W, 3]`, normalised, to the list C2..C5, `[B, H/4, W/4, 256]` to
        `[B, H/32, W/32, 2048]`. Layers are called `stem`, `stage2_block0_conv1`, ...
    """

    def conv(filters, size, strides=1, activation="relu", *, layer_name, stage):
        return ConvNorm(
            filters,
            size,
            strides,
            norm=norm,
            norm_epsilon=norm_epsilon,
            activation=activation,
            name=layer_name,
            trainable=stage > frozen_stages,
        )

    def block(x, filters, strides, prefix, stage, project):
        first, second = (strides, 1) if stride_in_1x1 else (1, strides)
        shortcut = x
        if project:
            layer_name = f"{prefix}_shortcut"
            shortcut = conv(4 * filters, 1, strides, None, layer_name=layer_name, stage=stage)(x)
        x = conv(filters, 1, first, layer_name=f"{prefix}_conv1", stage=stage)(x)
        x = conv(filters, 3, second, layer_name=f"{prefix}_conv2", stage=stage)(x)
        x = conv(4 * filters, 1, 1, None, layer_name=f"{prefix}_conv3", stage=stage)(x)
        x = keras.layers.Add(name=f"{prefix}_add")([x, shortcut])
        return keras.layers.ReLU(name=f"{prefix}_out")(x)

    images = feature_input((None, None, 3), "images")
    x = conv(64, 7, 2, layer_name="stem", stage=1)(images)  # [B, H/2, W/2, 64]
    x = keras.layers.ZeroPadding2D(1, name="stem_pad")(x)  # 0 is the smallest value after a ReLU
    x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # [B, H/4, W/4, 64]
    outputs = []
    for stage, num_blocks in enumerate(BLOCKS[name], start=2):
        filters = 64 * 2 ** (stage - 2)
        for index in range(num_blocks):
            strides = 2 if index == 0 and stage > 2 else 1
            x = block(x, filters, strides, f"stage{stage}_block{index}", stage, project=index == 0)
        outputs.append(x)
    return keras.Model(images, outputs, name="backbone")
