"""Runs torchvision's Mask R-CNN on a few images. It is a script for an environment with torchvision.

Arguments: the fixture's weights, the checkpoint to write with `torch.save`, the results file to write (.npz),
and the images. For image i the results have `boxes{i}` (xyxy), `labels{i}`, `scores{i}` and packed
`masks{i}`.
"""

import sys

import numpy as np
import torch
import torchvision
from parity_weights import load_state_dict
from PIL import Image
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d


def build_model(state):
    """Returns `maskrcnn_resnet50_fpn` as torchvision loads COCO_V1 weights: frozen statistics, epsilon 0."""
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d)
    model = MaskRCNN(backbone, 91)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    return model.eval()


def main(weights, checkpoint, results, *images):
    torch.set_num_threads(2)
    model = build_model(load_state_dict(weights))
    torch.save(model.state_dict(), checkpoint)
    found = {}
    for index, path in enumerate(images):
        image = torchvision.transforms.functional.to_tensor(Image.open(path).convert("RGB"))
        with torch.inference_mode():
            (output,) = model([image])
        for name in ("boxes", "labels", "scores"):
            found[f"{name}{index}"] = output[name].numpy()
        found[f"masks{index}"] = np.packbits(output["masks"][:, 0].numpy() >= 0.5, axis=-1)
    np.savez(results, **found)


main(*sys.argv[1:])
