"""The keypoint branch (section 5)."""

import keras

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.keypoints import KeypointDeconv
from mask_rcnn.networks.inputs import feature_input


def keypoint_head(in_channels, pool_size=14, convs=8, channels=512, num_keypoints=17):
    """Builds the keypoint branch: convolutions, a deconvolution to the keypoints, bilinear to twice its size.

    "Keypoint head architecture", section 5: the high resolution is what localisation needs.

    Args:
        in_channels: of the pooled features.
        pool_size: their side, P.
        convs: how many 3x3 convolutions.
        channels: of each of them.
        num_keypoints: J.

    Returns:
        A `keras.Model`: `[R, P, P, C]` to the logits of a heatmap for each keypoint, `[R, 4P, 4P, J]`.
    """
    pooled = x = feature_input((pool_size, pool_size, in_channels), "pooled")
    for index in range(1, convs + 1):
        x = ConvNorm(channels, 3, activation="relu", name=f"conv{index}")(x)
    # Almost the same everywhere at first: cells that begin unlike would have to be unlearnt.
    initializer = keras.initializers.RandomNormal(stddev=0.001)
    x = KeypointDeconv(num_keypoints, 4, 2, padding="same", kernel_initializer=initializer, name="deconv")(
        x
    )  # [R, 2P, 2P, J]
    heatmaps = keras.layers.UpSampling2D(2, interpolation="bilinear", name="upsample")(x)
    return keras.Model(pooled, heatmaps, name="keypoint_head")
