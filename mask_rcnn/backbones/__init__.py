"""Backbones by name: built-in ones, those of keras.applications and KerasHub, and user models."""

from mask_rcnn.backbones import builtin, keras_applications, keras_hub  # noqa: F401, registers them
from mask_rcnn.backbones.backbone import BACKBONES, Backbone
from mask_rcnn.backbones.from_keras_model import from_keras_model
from mask_rcnn.backbones.input_channels import with_channels
from mask_rcnn.backbones.levels import pyramid_strides
from mask_rcnn.config import Config

__all__ = [
    "BACKBONES",
    "Backbone",
    "build_backbone",
    "from_keras_model",
    "pyramid_strides",
    "with_channels",
]


def build_backbone(config: Config) -> Backbone:
    """Builds the backbone that a config names, with random weights.

    Args:
        config: A `Config`.

    Returns:
        A `Backbone`. Its `mean` and `std` are those of `config.input`, or the backbone's own where these are
        None.

    Raises:
        ValueError: If no backbone has this name, or if it requires another normalization of its input.
    """
    backbone = BACKBONES.find(config.backbone.name)(config.backbone)
    backbone = with_channels(backbone, config.input.channels)
    return backbone.normalized_as(config.input.mean, config.input.std)
