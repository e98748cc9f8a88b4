"""What a registered backbone gives, and the registry."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from mask_rcnn.registry import Registry

BACKBONES = Registry("backbone.name")

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 0..255: what torchvision's networks subtract
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone and what the rest of the detector must know of it.

    `model`: `[B, H, W, C]`, normalized, to a list of maps, finest first; C is 3, RGB, or `input.channels`.
    `strides`: image pixels for each pixel of each map. `mean` and `std`: the pixels 0..255 are normalized as
    `(pixel - mean) / std`, a number for each channel; None is unknown, and `input.mean` and `input.std` must
    say it. `fixed_normalization`: the published weights have this normalization only, so that another one is
    an error. `load`: function that gives `model` its published weights by the value of `backbone.weights`;
    None for our own networks, see `load_backbone`. `roi_stage`: the fifth stage where it is applied to each
    RoI (ResNet-C4).
    """

    model: keras.Model
    strides: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fixed_normalization: bool = False
    load: Callable[[str], None] | None = None
    roi_stage: keras.Model | None = None

    @property
    def first_level(self):
        """The level of the finest map: 2 for a stride of 4, as in C2 (FPN, section 3)."""
        return self.strides[0].bit_length() - 1

    def normalized_as(self, mean, std):
        """Returns the backbone with `mean` and `std`, each where it is not None; checks that they fit."""
        received = f"input.mean={mean}, input.std={std}"
        if None in (mean or self.mean, std or self.std):
            raise ValueError(
                f"The backbone does not say how its pixels are normalized. Received: {received}. "
                "Set `input.mean` and `input.std`, RGB in 0..255; 0, 0, 0 and 1, 1, 1 change no pixel."
            )
        result = dataclasses.replace(self, mean=tuple(mean or self.mean), std=tuple(std or self.std))
        is_same = self.mean is None or np.allclose(
            [result.mean, result.std], [self.mean, self.std], rtol=1e-4, atol=1e-3
        )
        if self.fixed_normalization and not is_same:
            raise ValueError(
                f"The backbone takes pixels with mean {self.mean} and standard deviation {self.std}. "
                f"Received: {received}. Set `input.mean=null` and `input.std=null`: the backbone's own."
            )
        return result
