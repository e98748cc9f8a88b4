"""What a head is, and the registry of heads.

Letters: B images, G objects, P positive RoIs per image, D detections per image, R RoIs of all images.
"""

from dataclasses import dataclass
from typing import ClassVar

from mask_rcnn.config import Config
from mask_rcnn.config.heads import add_head_config
from mask_rcnn.data.ground_truth import GROUND_TRUTHS
from mask_rcnn.registry import Registry

HEADS = Registry("heads")


@dataclass(frozen=True)
class Head:
    """A branch that predicts something for each box. Subclasses are registered with `register_head`.

    The network of head "mask" is the part "mask_head": its weights are saved as `mask_head/...`.

    Args:
        config: The `Config` of the model.
        settings: The section of this head in the config. Its field `pool_size` is the side of the features.
    """

    config: Config
    settings: object

    name: ClassVar[str]  # set by `register_head`
    iou_type: ClassVar[str | None] = None  # "segm" or "keypoints": what COCO's AP is computed of
    outputs: ClassVar[tuple[str, ...]] = ()  # names of the tensors of `predict`

    @property
    def part(self):
        """Name of the head's network, which its weights begin with."""
        return f"{self.name}_head"

    @property
    def pooling(self):
        """Name of the layer that pools the head's features, and their side, as `stages.pool` takes them."""
        return {"name": f"{self.name}_pool", "pool_size": self.settings.pool_size}

    def build(self, feature_shape):
        """Returns the network, a `keras.Model` of the name `self.part`.

        Args:
            feature_shape: (height, width, channels) of the features of one RoI.
        """
        raise NotImplementedError

    def network_inputs(self, features, class_ids):
        """Returns what the network is called with.

        Args:
            features: `[R, h, w, C]`.
            class_ids: int32, `[B, P]` in training and `[B, D]` in inference.
        """
        return features

    def loss(self, outputs, positives, batch):
        """Returns `{"..._loss": [B, 2]}`: the sum of each image, and the count to divide it by.

        Args:
            outputs: Output of the network.
            positives: Dict of the positive RoIs, see `RoiTargets`: `rois` `[B, P, 4]`, `class_ids` `[B, P]`,
                `matched` `[B, P]` (rows of the ground truth) and `positive` `[B, P]`.
            batch: Input dict of `training_model`, with the arrays of its `GroundTruth`.
        """
        raise NotImplementedError

    def predict(self, outputs, boxes):
        """Returns `{name: [B, D, ...]}` for the names in `self.outputs`.

        Args:
            outputs: Output of the network.
            boxes: `[B, D, 4]`, the detections.
        """
        raise NotImplementedError

    def decode(self, outputs, boxes, resize):
        """Returns fields of `Detections` from the outputs for N detections of one image.

        Args:
            outputs: Dict of arrays `[N, ...]`, of all heads, and `boxes` in pixels of the resized image.
            boxes: `[N, 4]` yxyx, pixels of the original image.
            resize: The `Resize` between the two.
        """
        return {"attributes": {name: outputs[name] for name in self.outputs}}

    def class_layers(self, other, same_classes):
        """Returns names of layers, "part/layer", whose weights do not fit after a change of classes.

        Args:
            other: The same head of the model that the weights come from, or None.
            same_classes: Whether both models have the same classes.
        """
        return set()


def register_head(name, config_class, ground_truth=None):
    """Returns a decorator that registers a subclass of `Head`.

    A config selects it with `heads: {NAME: {...}}`, whose fields are those of `config_class`.

    Args:
        name: Name in the config, a Python identifier.
        config_class: Frozen dataclass with default values and a field `pool_size`.
        ground_truth: Subclass of `data.ground_truth.GroundTruth`. Defaults to none, for a head that learns
            from boxes and classes alone.
    """
    add_head_config(name, config_class)
    if ground_truth is not None:
        GROUND_TRUTHS[name] = ground_truth
    return register_builtin(name)


def register_builtin(name):
    """Returns a decorator that registers a `Head` whose settings have a field of their own in `Config`."""

    def add(head_class):
        HEADS.register(name)(head_class)
        head_class.name = name
        return head_class

    return add


def heads_of(config):
    """Returns the `Head`s of a `Config`, in the order in which they are built."""
    return tuple(HEADS.find(name)(config, settings) for name, settings in config.head_settings().items())


def iou_types_of(config):
    """Returns what the detections of a model can be scored by: its boxes, and what its heads add."""
    return ("bbox", *(head.iou_type for head in heads_of(config) if head.iou_type))


def decode(heads, outputs, boxes, resize):
    """Returns the fields of `Detections` that the heads fill, for the N detections of one image.

    Args:
        heads: Tuple of `Head`.
        outputs, boxes, resize: See `Head.decode`.
    """
    fields = {"attributes": {}}
    for head in heads:
        found = head.decode(outputs, boxes, resize)
        fields["attributes"] |= found.pop("attributes", {})
        fields |= found
    return fields
