"""ResNets (He et al. 2016, table 1) and ResNeXts (Xie et al. 2017) as backbones: images to C2..C5."""

from dataclasses import dataclass
from typing import Any

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.stem_pool import StemPool
from mask_rcnn.networks.inputs import feature_input
from mask_rcnn.ops.tensor import Tensor

# Number of blocks in each stage, C2..C5.
BLOCKS = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "resnext50_32x4d": (3, 4, 6, 3),
    "resnext101_32x8d": (3, 4, 23, 3),
    "resnext101_64x4d": (3, 4, 23, 3),
}
# Number of groups of the 3x3 convolutions, and channels per group in C2. The channels double in each stage.
GROUPS = {"resnext50_32x4d": (32, 4), "resnext101_32x8d": (32, 8), "resnext101_64x4d": (64, 4)}
ONE_GROUP = (1, 64)  # ResNets


def resnet(
    name: str,
    last_stage: int = 5,
    *,
    dilated_c5: bool = False,
    stem_pool_padding: str = "symmetric",
    **conventions: Any,
) -> keras.Model:
    """Builds the convolutional part of a ResNet or ResNeXt.

    Args:
        name: A key of BLOCKS.
        last_stage: 5, or 4 if `roi_stage` is applied to each RoI instead (ResNet-C4). Defaults to 5.
        dilated_c5: Whether the fifth stage keeps the stride of the fourth. Its 3x3 convolutions then have a
            dilation of 2, so that their receptive field is the same as in pretraining. Defaults to False.
        stem_pool_padding: "symmetric", or "same", which pads at the bottom and right only. Defaults to
            "symmetric".
        conventions: `norm`, `norm_epsilon`, `stride_in_1x1` and `frozen_stages` of `Bottlenecks`.

    Returns:
        A `keras.Model`: `[B, H, W, 3]`, normalized, to the list C2..C5, `[B, H/4, W/4, 256]` to
        `[B, H/32, W/32, 2048]`. Layers are named `stem`, `stage2_block0_conv1`, ...
    """
    blocks = Bottlenecks(name=name, **conventions)
    images = feature_input((None, None, 3), "images")
    x = blocks.conv(64, 7, 2, layer_name="stem", stage=1)(images)  # [B, H/2, W/2, 64]
    x = StemPool(stem_pool_padding, name="stem_pool")(x)  # [B, H/4, W/4, 64]
    outputs = []
    for stage in range(2, last_stage + 1):
        dilated = dilated_c5 and stage == 5
        strides = 1 if stage == 2 or dilated else 2
        x = blocks.stage(x, stage, strides=strides, dilation=2 if dilated else 1)
        outputs.append(x)
    return keras.Model(images, outputs, name="backbone")


def roi_stage(name: str, **conventions: Any) -> keras.Model:
    """Builds the fifth stage as a separate network, the head of ResNet-C4 (He et al. 2016, appendix A).

    Args:
        name, conventions: See `resnet`.

    Returns:
        A `keras.Model`: RoIs pooled from C4 `[R, P, P, 1024]` to `[R, P/2, P/2, 2048]`.
    """
    pooled = feature_input((None, None, 1024), "pooled")
    features = Bottlenecks(name=name, **conventions).stage(pooled, 5, strides=2)
    return keras.Model(pooled, features, name="roi_stage")


@dataclass(frozen=True, kw_only=True)
class Bottlenecks:
    """Builds the residual blocks of a network (He et al. 2016, figure 5, right; Xie et al. 2017, figure 3c).

    Args:
        name: A key of BLOCKS.
        norm, norm_epsilon: Normalization of every convolution, see `ConvNorm`. Defaults to
            "frozen_batch_norm".
        stride_in_1x1: Whether the first 1x1 convolution of a stage has the stride, as in the original
            networks of MSRA. Otherwise the 3x3 convolution has it, as in torchvision. Defaults to False.
        frozen_stages: Number of stages that are not trained, counted from the stem: stem, C2, C3, ...
            Defaults to 0.
    """

    name: str
    norm: str = "frozen_batch_norm"
    norm_epsilon: float = 1e-5
    stride_in_1x1: bool = False
    frozen_stages: int = 0

    def stage(self, x: Tensor, stage: int, *, strides: int, dilation: int = 1) -> Tensor:
        """Returns `x` after all blocks of stage 2..5. The first block has the stride `strides`."""
        for index in range(BLOCKS[self.name][stage - 2]):
            x = self.block(x, stage, index, strides=strides if index == 0 else 1, dilation=dilation)
        return x

    def block(self, x: Tensor, stage: int, index: int, *, strides: int, dilation: int) -> Tensor:
        """Returns `x` after one residual block.

        Args:
            x: Features `[B, H, W, C]`.
            stage: Number of the stage, 2..5.
            index: Number of the block in its stage, from 0. The first block has a convolution as shortcut.
            strides: Stride of the block.
            dilation: Dilation of its 3x3 convolution.
        """
        groups, width = GROUPS.get(self.name, ONE_GROUP)
        scale = 2 ** (stage - 2)
        filters = groups * width * scale
        first, second = (strides, 1) if self.stride_in_1x1 else (1, strides)

        def conv(filters, size, strides, activation, layer, **arguments):
            name = f"stage{stage}_block{index}_{layer}"
            return self.conv(
                filters, size, strides, activation=activation, stage=stage, layer_name=name, **arguments
            )

        shortcut = conv(256 * scale, 1, strides, None, "shortcut")(x) if index == 0 else x
        x = conv(filters, 1, first, "relu", "conv1")(x)
        x = conv(filters, 3, second, "relu", "conv2", groups=groups, dilation=dilation)(x)
        x = conv(256 * scale, 1, 1, None, "conv3")(x)
        x = keras.layers.Add(name=f"stage{stage}_block{index}_add")([x, shortcut])
        return keras.layers.ReLU(name=f"stage{stage}_block{index}_out")(x)

    def conv(
        self,
        filters: int,
        size: int,
        strides: int,
        *,
        activation: str | None = "relu",
        layer_name: str,
        stage: int,
        **arguments: Any,
    ) -> ConvNorm:
        """Returns a `ConvNorm`. It is trainable if its stage is above `frozen_stages`.

        Args:
            filters: Number of output channels.
            size: Side of the kernel, pixels.
            strides: Stride, pixels.
            activation: Name of a Keras activation, or None. Defaults to "relu".
            layer_name: Name of the layer.
            stage: Number of its stage, 1 for the stem.
            arguments: Further arguments of `ConvNorm`.
        """
        return ConvNorm(
            filters,
            size,
            strides,
            norm=self.norm,
            norm_epsilon=self.norm_epsilon,
            activation=activation,
            name=layer_name,
            trainable=stage > self.frozen_stages,
            **arguments,
        )
