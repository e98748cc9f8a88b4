"""Weights of torchvision's detectors and classifiers. The facts are from its `Weights` records."""

from typing import Any

from mask_rcnn.model_zoo.entries.entry import Entry

BASE = "https://download.pytorch.org/models/"
LICENSE = "BSD-3-Clause (the code; none is stated for the weights)"


def _entry(model: str, *, stem: str, digits: str, file: str, **facts: Any) -> Entry:
    source = f"torchvision 0.29.2, models/{file}.py"
    # torchvision publishes only the first eight digits, in the file name. Its own downloader checks these.
    return Entry(
        name=f"torchvision/{model}",
        url=f"{BASE}{stem}-{digits}.pth",
        file_format="pth",
        license=LICENSE,
        source=source,
        published=f"{source}, {'ImageNet-1K' if facts.get('is_backbone') else 'COCO-val2017'}",
        sha256=digits,
        **facts,
    )


def _detector(model: str, digits: str, description: str, file: str, **scores: float) -> Entry:
    return _entry(
        model,
        stem=f"{model}_coco",
        digits=digits,
        file=f"detection/{file}",
        description=f"{description}, COCO train2017",
        **scores,
    )


def _backbone(model: str, digits: str, description: str, top1: float, version: str = "") -> Entry:
    return _entry(
        model + version,
        stem=model,
        digits=digits,
        file="resnet",
        description=f"{description}, ImageNet-1k",
        top1=top1,
        is_backbone=True,
    )


DETECTORS = (
    _detector(
        "maskrcnn_resnet50_fpn", "bf2d0c1e", "Mask R-CNN R50-FPN", "mask_rcnn", box_ap=37.9, mask_ap=34.6
    ),
    _detector(
        "maskrcnn_resnet50_fpn_v2",
        "73cbd019",
        "Mask R-CNN R50-FPN v2, 400 epochs",
        "mask_rcnn",
        box_ap=47.4,
        mask_ap=41.8,
    ),
    _detector("fasterrcnn_resnet50_fpn", "258fb6c6", "Faster R-CNN R50-FPN", "faster_rcnn", box_ap=37.0),
    _detector(
        "fasterrcnn_resnet50_fpn_v2",
        "dd69338a",
        "Faster R-CNN R50-FPN v2, 400 epochs",
        "faster_rcnn",
        box_ap=46.7,
    ),
    _detector(
        "keypointrcnn_resnet50_fpn",
        "fc266e95",
        "Keypoint R-CNN R50-FPN",
        "keypoint_rcnn",
        box_ap=54.6,
        keypoint_ap=65.0,
    ),
)

# torchvision's detectors were trained from V1. V2 is from the longer training recipe of 2021.
BACKBONES = (
    _backbone("resnet50", "0676ba61", "ResNet-50 V1", 76.130),
    _backbone("resnet50", "11ad3fa6", "ResNet-50 V2", 80.858, "_v2"),
    _backbone("resnet101", "63fe2227", "ResNet-101 V1", 77.374),
    _backbone("resnet101", "cd907fc2", "ResNet-101 V2", 81.886, "_v2"),
    _backbone("resnet152", "394f9c45", "ResNet-152 V1", 78.312),
    _backbone("resnet152", "f82ba261", "ResNet-152 V2", 82.284, "_v2"),
    _backbone("resnext50_32x4d", "7cdf4587", "ResNeXt-50-32x4d V1", 77.618),
    _backbone("resnext50_32x4d", "1a0047aa", "ResNeXt-50-32x4d V2", 81.198, "_v2"),
    _backbone("resnext101_32x8d", "8ba56ff5", "ResNeXt-101-32x8d V1", 79.312),
    _backbone("resnext101_32x8d", "110c445d", "ResNeXt-101-32x8d V2", 82.834, "_v2"),
    _backbone("resnext101_64x4d", "173b62eb", "ResNeXt-101-64x4d", 83.246),
)

ENTRIES = (*DETECTORS, *BACKBONES)
