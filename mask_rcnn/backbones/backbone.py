"""The record `Backbone` and the registry of backbones."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from mask_rcnn.registry import Registry

BACKBONES = Registry("backbone.name")

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 0..255, as in torchvision
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone network and what the detector must know about it.

    Attributes:
        model: `keras.Model` from normalized images `[B, H, W, C]` to a list of maps, finest first. C is 3
            (RGB), or `input.channels`.
        strides: Image pixels per map pixel, for each map.
        mean, std: Pixels in 0..255 are normalized as `(pixel - mean) / std`. One number per channel. None is
            unknown: `input.mean` and `input.std` must then be set.
        fixed_normalization: Whether the published weights require this normalization. Another one is then an
            error.
        load: Function that loads published weights into `model`, given the value of `backbone.weights`. None
            for built-in networks, see `load_backbone`.
        roi_stage: The fifth stage if it is applied to each RoI (ResNet-C4), otherwise None.
    """

    model: keras.Model
    strides: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fixed_normalization: bool = False
    load: Callable[[str], None] | None = None
    roi_stage: keras.Model | None = None

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the input, one number per channel each.

        Raises:
            ValueError: If one of them is unknown.
        """
        if self.mean is None or self.std is None:
            raise ValueError(
                "The backbone does not define a normalization of its input. "
                f"Received: input.mean={self.mean}, input.std={self.std}. "
                "Set `input.mean` and `input.std`, RGB in 0..255. 0, 0, 0 and 1, 1, 1 change no pixel."
            )
        return self.mean, self.std

    @property
    def first_level(self) -> int:
        """Level of the finest map: 2 for a stride of 4, as in C2 (FPN, section 3)."""
        return self.strides[0].bit_length() - 1

    def normalized_as(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> "Backbone":
        """Returns a copy with the given normalization.

        Args:
            mean: One number per channel, RGB in 0..255. None keeps the backbone's own.
            std: One number per channel. None keeps the backbone's own.

        Raises:
            ValueError: If mean or std is unknown, or if the weights require other values.
        """
        result = dataclasses.replace(
            self,
            mean=self.mean if mean is None else tuple(mean),
            std=self.std if std is None else tuple(std),
        )
        normalization = result.normalization
        is_same = (self.mean is None or self.std is None) or np.allclose(
            normalization, (self.mean, self.std), rtol=1e-4, atol=1e-3
        )
        if self.fixed_normalization and not is_same:
            raise ValueError(
                f"The backbone's weights require the mean {self.mean} and standard deviation {self.std}. "
                f"Received: input.mean={mean}, input.std={std}. "
                "Set `input.mean=null` and `input.std=null` to use these values."
            )
        return result
