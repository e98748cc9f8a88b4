"""Backbones of KerasHub with pyramid outputs, by preset (`keras_hub/resnet_50_imagenet`) or preset folder."""

from typing import Any

import keras
import numpy as np

from mask_rcnn.backbones.backbone import BACKBONES, Backbone
from mask_rcnn.backbones.from_keras_model import from_keras_model, normalization_of
from mask_rcnn.config import BackboneConfig

PREFIX = "keras_hub/"


@BACKBONES.register(PREFIX)
def keras_hub_backbone(config: BackboneConfig) -> Backbone:
    """A preset or preset folder of KerasHub, such as keras_hub/resnet_50_imagenet."""
    keras_hub = _import()
    preset = config.name.removeprefix(PREFIX)
    source = keras_hub.models.Backbone.from_preset(preset, load_weights=False)
    pyramid = getattr(source, "pyramid_outputs", None)
    if not pyramid:
        raise ValueError(
            "A KerasHub backbone must have `pyramid_outputs`. "
            f"Received: backbone.name={config.name!r}, a {type(source).__name__}. "
            "Choose an image backbone such as keras_hub/resnet_50_imagenet."
        )
    model = _pyramid(source)
    mean, std = _normalization(keras_hub, preset)
    return from_keras_model(
        model,
        config,
        outputs=model.outputs,
        mean=mean,
        std=std,
        load=lambda weights: _pyramid(keras_hub.models.Backbone.from_preset(preset)),
    )


def _import() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            f"A KerasHub backbone needs the package keras-hub ({error}). "
            "Run `pip install keras-hub`, or choose a `backbone.name` that does not begin with keras_hub/."
        ) from None
    return keras_hub


def _pyramid(source):
    levels = sorted(source.pyramid_outputs, key=lambda name: int(name.strip("P")))
    return keras.Model(source.inputs[0], [source.pyramid_outputs[name] for name in levels])


def _normalization(keras_hub, preset):
    """Returns mean and std of the preset's image converter, or (None, None) if it has no converter."""
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset, image_size=None)
    except (ValueError, FileNotFoundError):
        return None, None
    scale = 1.0 if converter.scale is None else np.asarray(converter.scale)
    offset = 0.0 if converter.offset is None else np.asarray(converter.offset)
    return normalization_of(lambda pixels: pixels * scale + offset)[:2]
