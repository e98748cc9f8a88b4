"""The smallest backbones for an FPN: convolutions without normalization, with maps C2..C5 or C2 and C3."""

import keras

from mask_rcnn.backbones import BACKBONES, from_keras_model
from mask_rcnn.config import BackboneConfig

FOUR_CONVS = BackboneConfig(name="four_convs", weights=None)
TWO_CONVS = BackboneConfig(name="two_convs", weights=None, frozen_stages=0)
LAYERS = ((8, 4), (8, 2), (16, 2), (16, 2))  # (channels, stride) of each convolution


def network(weights=None, count=4):
    x = images = keras.Input((None, None, 3))
    for channels, stride in LAYERS[:count]:
        x = keras.layers.Conv2D(channels, 3, stride, padding="same", activation="relu")(x)
    return keras.Model(images, x)


@BACKBONES.register("four_convs")
def four_convs(config):
    """Four convolutions with random weights, for any value of `backbone.weights`."""
    return from_keras_model(network(), config, load=network)


@BACKBONES.register("two_convs")
def two_convs(config):
    """The first two convolutions of `four_convs`."""
    return from_keras_model(network(count=2), config)
