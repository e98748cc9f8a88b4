"""Feature pyramid network (FPN, section 3)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.networks.inputs import feature_input
from mask_rcnn.ops.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class UpsampleAdd(keras.layers.Layer):
    """Upsamples the coarse map to the size of the fine map (nearest neighbor) and adds both (FPN, figure 3).

    Call arguments:
        coarse: `[B, H / 2, W / 2, C]`.
        fine: `[B, H, W, C]`.

    Output shape:
        `[B, H, W, C]`.
    """

    def call(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return fine + tf.image.resize(coarse, tf.shape(fine)[1:3], "nearest")

    def compute_output_shape(self, coarse_shape: Shape, fine_shape: Shape) -> Shape:
        return fine_shape


def fpn(
    in_channels: Sequence[int],
    channels: int = 256,
    *,
    norm: str = "none",
    norm_epsilon: float = 1e-5,
    first_level: int = 2,
    subsampled: int = 1,
) -> keras.Model:
    """Builds the feature pyramid network on top of a backbone.

    Args:
        in_channels: Channels of each map of the backbone, such as C2..C5, finest first.
        channels: Channels of every pyramid level. Defaults to 256.
        norm, norm_epsilon: Normalization of its convolutions, see `ConvNorm`. Defaults to "none".
        first_level: Level of the finest map. Defaults to 2.
        subsampled: Number of further levels, subsampled from the last one. Defaults to 1, which is P6.

    Returns:
        A `keras.Model`: the list C2..C5 to the list P2..P6. P6 is every second pixel of P5 (FPN, section
        4.1, footnote). Each further level is every second pixel of the level before.
    """

    def conv(size, name):
        return ConvNorm(
            channels,
            size,
            norm=norm,
            norm_epsilon=norm_epsilon,
            kernel_initializer="glorot_uniform",
            name=name,
        )

    levels = range(first_level, first_level + len(in_channels))
    inputs = [feature_input((None, None, c), f"c{i}") for i, c in zip(levels, in_channels, strict=True)]
    laterals = [conv(1, f"lateral{i}")(x) for i, x in zip(levels, inputs, strict=True)]
    merged = laterals[-1:]
    for level, lateral in reversed(list(zip(levels, laterals, strict=True))[:-1]):
        merged.insert(0, UpsampleAdd(name=f"merge{level}")(merged[0], lateral))
    outputs = [conv(3, f"output{i}")(x) for i, x in zip(levels, merged, strict=True)]
    for level in range(levels[-1] + 1, levels[-1] + 1 + subsampled):
        outputs.append(keras.layers.MaxPooling2D(1, 2, name=f"p{level}")(outputs[-1]))
    return keras.Model(inputs, outputs, name="fpn")
