"""Layers of matterport's Mask R-CNN: their names and shapes, random weights, and h5 files."""

import math
from dataclasses import dataclass

import h5py
import numpy as np

BLOCKS = {"2": "abc", "3": "abcd", "4": "abcdef", "5": "abc"}  # ResNet-50
RPN_LAYERS = ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")


@dataclass(frozen=True)
class Sizes:
    """Numbers of channels and units of the layers after the backbone. The defaults are the published ones."""

    pyramid: int = 256
    rpn: int = 512
    units: int = 1024
    masks: int = 256
    outputs: int = 81


class Layers:
    """Collects `{"layer/variable": array}`.

    Gains keep the activations of random weights within bounds, so that NMS has different scores.

    Args:
        random: A NumPy generator. Defaults to None, which creates arrays of the right shape filled with
            zeros.
    """

    def __init__(self, random=None):
        self.random = random
        self.arrays = {}

    def conv(self, name, side, inputs, outputs, gain=1.0):
        self.normal(
            f"{name}/kernel", gain * math.sqrt(2 / (side * side * inputs)), side, side, inputs, outputs
        )
        self.normal(f"{name}/bias", 0.1, outputs)

    def dense(self, name, inputs, outputs, gain=1.0):
        self.normal(f"{name}/kernel", gain / math.sqrt(inputs), inputs, outputs)
        self.normal(f"{name}/bias", 0.1, outputs)

    def norm(self, name, channels):
        self.uniform(f"{name}/gamma", 0.7, 1.1, channels)
        self.uniform(f"{name}/beta", -0.1, 0.1, channels)
        self.uniform(f"{name}/moving_mean", -0.2, 0.2, channels)
        self.uniform(f"{name}/moving_variance", 0.001, 0.01, channels)  # small, so that epsilon matters

    def normal(self, name, std, *shape):
        self.uniform(name, -math.sqrt(3) * std, math.sqrt(3) * std, *shape)

    def uniform(self, name, low, high, *shape):
        zero = np.zeros([], "float32")
        drawn = self.random and self.random.uniform(low, high, shape).astype("float32")
        self.arrays[name] = np.broadcast_to(zero, shape) if drawn is None else drawn


def model_layers(layers, blocks, sizes):
    """Fills `layers` with a complete model and returns their arrays."""
    backbone_layers(layers, blocks)
    for level, inputs in ((2, 256), (3, 512), (4, 1024), (5, 2048)):
        layers.conv(f"fpn_c{level}p{level}", 1, inputs, sizes.pyramid, 0.05)
        layers.conv(f"fpn_p{level}", 3, sizes.pyramid, sizes.pyramid)
    layers.conv("rpn_conv_shared", 3, sizes.pyramid, sizes.rpn)
    layers.conv("rpn_class_raw", 1, sizes.rpn, 6)
    layers.conv("rpn_bbox_pred", 1, sizes.rpn, 12, 2.0)
    layers.conv("mrcnn_class_conv1", 7, sizes.pyramid, sizes.units, 0.1)
    layers.norm("mrcnn_class_bn1", sizes.units)
    layers.conv("mrcnn_class_conv2", 1, sizes.units, sizes.units, 0.08)
    layers.norm("mrcnn_class_bn2", sizes.units)
    layers.dense("mrcnn_class_logits", sizes.units, sizes.outputs, 3.0)
    layers.dense("mrcnn_bbox_fc", sizes.units, 4 * sizes.outputs, 0.3)
    for index in (1, 2, 3, 4):
        layers.conv(
            f"mrcnn_mask_conv{index}", 3, sizes.pyramid if index == 1 else sizes.masks, sizes.masks, 0.08
        )
        layers.norm(f"mrcnn_mask_bn{index}", sizes.masks)
    layers.conv("mrcnn_mask_deconv", 2, sizes.masks, sizes.masks)  # equal numbers of inputs and outputs
    layers.conv("mrcnn_mask", 1, sizes.masks, sizes.outputs)
    return layers.arrays


def backbone_layers(layers, blocks):
    def conv_norm(name, norm, *arguments):
        layers.conv(name, *arguments)
        layers.norm(norm, arguments[2])

    conv_norm("conv1", "bn_conv1", 7, 3, 64, 0.002)
    inputs = 64
    for stage, letters in blocks.items():
        width = 64 * 2 ** (int(stage) - 2)
        for letter in letters:
            res, bn = f"res{stage}{letter}_branch", f"bn{stage}{letter}_branch"
            if letter == "a":
                conv_norm(f"{res}1", f"{bn}1", 1, inputs, 4 * width, 0.08)
            conv_norm(f"{res}2a", f"{bn}2a", 1, inputs, width, 0.08)
            conv_norm(f"{res}2b", f"{bn}2b", 3, width, width, 0.08)
            conv_norm(f"{res}2c", f"{bn}2c", 1, width, 4 * width, 0.03)
            inputs = 4 * width


def paths(arrays):
    """Returns `{path: array}` with the groups that Keras 2 writes.

    Each layer has a group that contains a group of the same name. The layers of the RPN are in one group.
    """
    layer_of = {name: name.split("/")[0] for name in arrays}
    groups = {name: "rpn_model" if layer in RPN_LAYERS else layer for name, layer in layer_of.items()}
    return {f"{groups[name]}/{name}:0": array for name, array in arrays.items()}


def write_keras2(path, arrays):
    """Writes `{"layer/variable": array}` in the format of Keras 2."""
    nested = {}
    for name, array in paths(arrays).items():
        group, _, weight = name.partition("/")
        nested.setdefault(group, {})[weight] = array
    nested |= {"input_image": {}, "roi_align_classifier": {}}  # layers without weights have groups, too
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in nested]
        file.attrs["keras_version"], file.attrs["backend"] = b"2.0.8", b"tensorflow"
        for group, weights in nested.items():
            file.create_group(group).attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                file[group][name] = array
