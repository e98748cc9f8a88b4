"""Base class of heads, and the registry of heads.

Letters: B images, G objects, P positive RoIs per image, D detections per image, R RoIs of all images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.config.heads import add_head_config
from mask_rcnn.data.input_pipeline.ground_truth import GROUND_TRUTHS, GroundTruth
from mask_rcnn.data.transforms import Resize
from mask_rcnn.ops.tensor import Tensor
from mask_rcnn.registry import Registry

HEADS = Registry("heads")
HeadClass = TypeVar("HeadClass", bound="type[Head]")


@dataclass(frozen=True)
class Head:
    """Base class of a branch that predicts something for each box. Register subclasses with `register_head`.

    The network of a head named "mask" is the part "mask_head". Its weights are saved as `mask_head/...`.

    Args:
        config: The `Config` of the model.
        settings: The section of this head in the config. Its field `pool_size` is the side of the pooled
            features.
    """

    config: Config
    settings: Any

    name: ClassVar[str]  # set by `register_head`
    iou_type: ClassVar[str | None] = None  # COCO's type of AP: "segm", "keypoints", or None: no AP
    outputs: ClassVar[tuple[str, ...]] = ()  # names of the tensors of `predict`

    @property
    def part(self) -> str:
        """Name of the head's network, and prefix of its weights."""
        return f"{self.name}_head"

    @property
    def pooling(self) -> dict[str, Any]:
        """Dict of the arguments `name` and `pool_size` of `model.stages.pool`."""
        return {"name": f"{self.name}_pool", "pool_size": self.settings.pool_size}

    def build(self, feature_shape: tuple[int, int, int]) -> keras.Model:
        """Returns the network of the head, a `keras.Model` with the name `self.part`.

        Args:
            feature_shape: (height, width, channels) of the pooled features of one RoI.
        """
        raise NotImplementedError

    def network_inputs(self, features: Tensor, class_ids: Tensor) -> Tensor | list[Tensor]:
        """Returns the inputs of the network. By default these are the features alone.

        Args:
            features: `[R, h, w, C]`.
            class_ids: `[B, P]` int32 in training, `[B, D]` int32 in inference.
        """
        return features

    def loss(
        self, outputs: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Returns the losses of the head as a dict `{"..._loss": [B, 2]}`: sum per image, and its divisor.

        Args:
            outputs: Output of the network.
            positives: Dict of the positive RoIs, see `RoiTargets`:
                `rois`: `[B, P, 4]`, yxyx.
                `class_ids`: `[B, P]` int32.
                `matched`: `[B, P]` int32, rows of the ground truth.
                `positive`: `[B, P]` bool.
            batch: Input dict of `training_model`, with the arrays of the head's `GroundTruth`.
        """
        raise NotImplementedError

    def predict(self, outputs: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Returns a dict `{name: [B, D, ...]}` with the names in `self.outputs`.

        Args:
            outputs: Output of the network.
            boxes: `[B, D, 4]`, the detections, yxyx.
        """
        raise NotImplementedError

    def decode(self, outputs: Mapping[str, np.ndarray], boxes: np.ndarray, resize: Resize) -> dict[str, Any]:
        """Returns fields of `Detections` for the N detections of one image, as a dict.

        By default all outputs become `attributes`.

        Args:
            outputs: Dict of arrays `[N, ...]`: the outputs of all heads, and `boxes` in pixels of the resized
                image.
            boxes: `[N, 4]`, yxyx, pixels of the original image.
            resize: The `Resize` from the original to the resized image.
        """
        return {"attributes": {name: outputs[name] for name in self.outputs}}

    def class_layers(self, other: "Head | None", same_classes: bool) -> set[str]:
        """Returns the layers whose weights cannot be reused after a change of classes, as "part/layer".

        Args:
            other: The same head of the model that the weights come from, or None.
            same_classes: Whether both models have the same classes.

        Returns:
            Set of strings. It is empty by default.
        """
        return set()


def register_head(
    name: str, config_class: type, ground_truth: type[GroundTruth] | None = None
) -> Callable[[HeadClass], HeadClass]:
    """Returns a decorator that registers a subclass of `Head`.

    A config selects the head with `heads: {NAME: {...}}`. The fields are those of `config_class`.

    Args:
        name: Name in the config, a Python identifier.
        config_class: Frozen dataclass with default values and a field `pool_size`.
        ground_truth: Subclass of `data.ground_truth.GroundTruth`. Defaults to None, for a head that needs
            only boxes and classes for training.

    Raises:
        ValueError: If the name or the dataclass does not meet these conditions.
    """
    add_head_config(name, config_class)
    if ground_truth is not None:
        GROUND_TRUTHS[name] = ground_truth
    return register_builtin(name)


def register_builtin(name: str) -> Callable[[HeadClass], HeadClass]:
    """Returns a decorator that registers a `Head` whose settings are a field of `Config` itself."""

    def add(head_class: HeadClass) -> HeadClass:
        HEADS.register(name)(head_class)
        head_class.name = name
        return head_class

    return add


def heads_of(config: Config) -> tuple[Head, ...]:
    """Returns a tuple of the `Head`s of a `Config`, in the order in which they are built."""
    return tuple(HEADS.find(name)(config, settings) for name, settings in config.head_settings().items())


def iou_types_of(config: Config) -> tuple[str, ...]:
    """Returns the AP types of a model: "bbox", and the `iou_type` of each head that has one."""
    return ("bbox", *(head.iou_type for head in heads_of(config) if head.iou_type))


def decode(
    heads: Sequence[Head], outputs: Mapping[str, np.ndarray], boxes: np.ndarray, *, resize: Resize
) -> dict[str, Any]:
    """Returns the fields of `Detections` that the heads fill for the N detections of one image, as a dict.

    Args:
        heads: Tuple of `Head`.
        outputs, boxes, resize: See `Head.decode`.
    """
    fields: dict[str, Any] = {"attributes": {}}
    for head in heads:
        head_fields = head.decode(outputs, boxes, resize)
        fields["attributes"] |= head_fields.pop("attributes", {})
        fields |= head_fields
    return fields
