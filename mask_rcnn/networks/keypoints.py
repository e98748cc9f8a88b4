"""Network of the keypoint head (section 5)."""

from typing import Any

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.keypoints import KeypointDeconv
from mask_rcnn.networks.inputs import feature_input


def keypoint_head(
    in_channels: int, *, pool_size: int = 14, convs: int = 8, channels: int = 512, num_keypoints: int = 17
) -> keras.Model:
    """Builds the keypoint branch: convolutions, a deconvolution and bilinear upsampling by 2.

    Section 5, "Keypoint head architecture": keypoint localization needs a high resolution.

    Args:
        in_channels: Channels of the pooled features.
        pool_size: Side of the pooled features, P. Defaults to 14.
        convs: Number of 3x3 convolutions. Defaults to 8.
        channels: Channels of each convolution. Defaults to 512.
        num_keypoints: Number of keypoints, J. Defaults to 17.

    Returns:
        A `keras.Model`: `[R, P, P, C]` to heatmap logits `[R, 4P, 4P, J]`, one heatmap per keypoint.
    """
    pooled = x = feature_input((pool_size, pool_size, in_channels), "pooled")
    for index in range(1, convs + 1):
        x = ConvNorm(channels, 3, activation="relu", name=f"conv{index}")(x)
    # Small initial weights: all cells start with nearly equal logits. Training need not undo random
    # differences.
    initializer: Any = keras.initializers.RandomNormal(stddev=0.001)
    deconv = KeypointDeconv(
        num_keypoints, 4, 2, padding="same", kernel_initializer=initializer, name="deconv"
    )
    x = deconv(x)  # [R, 2P, 2P, J]
    heatmaps = keras.layers.UpSampling2D(2, interpolation="bilinear", name="upsample")(x)
    return keras.Model(pooled, heatmaps, name="keypoint_head")
