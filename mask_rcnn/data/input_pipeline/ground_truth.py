"""Ground truth of the heads: arrays of a fixed shape from a finished `Sample`.

Worker processes make it, so this module does not import TensorFlow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mask_rcnn.config import Config, KeypointHeadConfig
from mask_rcnn.data.augmentation.sample import Sample


@dataclass(frozen=True)
class GroundTruth:
    """The arrays of a batch for a head. Pass a subclass to `register_head` for your own head.

    Args:
        config: `Config` of the model.
        settings: The section of the config for the head.

    Attributes:
        needs_masks: Whether the ground truth is made from masks. If True, objects without a mask are ignored
            in training. Defaults to False.
    """

    config: Config
    settings: Any  # the type of the section, which a head defines
    needs_masks: ClassVar[bool] = False

    def spec(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Returns `{name: (shape without the batch axis, dtype)}`. The first axis has length G."""
        raise NotImplementedError

    def __call__(self, sample: Sample) -> dict[str, np.ndarray]:
        """Returns `{name: array}` with at most G rows from a `Sample` after all transforms."""
        raise NotImplementedError


@dataclass(frozen=True)
class MaskGroundTruth(GroundTruth):
    """Masks of the objects, each inside its box: `gt_masks` `[G, M, M]` uint8."""

    needs_masks: ClassVar[bool] = True  # see `GroundTruth`

    def spec(self) -> dict[str, tuple[tuple[int, ...], str]]:
        size = self.config.input
        return {"gt_masks": ((size.max_instances, size.mask_crop_size, size.mask_crop_size), "uint8")}

    def __call__(self, sample: Sample) -> dict[str, np.ndarray]:
        return {"gt_masks": sample.output_masks(self.config.input.mask_crop_size)}


@dataclass(frozen=True)
class KeypointGroundTruth(GroundTruth):
    """Keypoints of the objects, (y, x, visibility): `gt_keypoints` `[G, J, 3]` float32."""

    settings: KeypointHeadConfig  # `keypoint_head` of the config

    def spec(self) -> dict[str, tuple[tuple[int, ...], str]]:
        return {"gt_keypoints": ((self.config.input.max_instances, len(self.settings.names), 3), "float32")}

    def __call__(self, sample: Sample) -> dict[str, np.ndarray]:
        return {"gt_keypoints": sample.output_keypoints()[: sample.num_objects]}


GROUND_TRUTHS = {"mask": MaskGroundTruth, "keypoint": KeypointGroundTruth}  # name of a head -> subclass


def needs_masks(ground_truths: Iterable[GroundTruth]) -> bool:
    """Returns whether one of these `GroundTruth`s is made from masks."""
    return any(ground_truth.needs_masks for ground_truth in ground_truths)


def make_ground_truths(config: Config) -> tuple[GroundTruth, ...]:
    """Returns the `GroundTruth` of each head of a `Config` that needs more than boxes and classes."""
    return tuple(
        GROUND_TRUTHS[name](config, settings)
        for name, settings in config.head_settings().items()
        if name in GROUND_TRUTHS
    )
