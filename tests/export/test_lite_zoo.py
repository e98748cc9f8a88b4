"""Converts every architecture with random weights to TFLite with built-in ops. Each takes minutes."""

from dataclasses import replace

import pytest

from mask_rcnn import model_zoo
from mask_rcnn.export.writers import lite, lite_file
from mask_rcnn.export.writers.lite_graph import LiteGraph
from mask_rcnn.model import build_parts
from mask_rcnn.model_zoo import detectron2, torchvision


def lite0():
    return replace(model_zoo.config("mask_rcnn_lite0_fpn"), num_classes=80)


ARCHITECTURES = {
    "Lite0-FPN 320": (lite0, (320, 320)),
    "Lite0-FPN 512": (lite0, (512, 512)),
    "R50-FPN 512": (torchvision.maskrcnn_resnet50_fpn, (512, 512)),
    "R50-FPN 800": (torchvision.maskrcnn_resnet50_fpn, (800, 1216)),
    "R50-FPN adaptive": (lambda: detectron2.mask_rcnn_fpn("R_50", "3x"), (512, 512)),
    "keypoint": (torchvision.keypointrcnn_resnet50_fpn, (512, 512)),
    "C4": (lambda: detectron2.mask_rcnn_c4("R_50", "3x"), (512, 512)),
    "DC5": (lambda: detectron2.mask_rcnn_dc5("R_50", "3x"), (512, 512)),
    "cascade": (lambda: detectron2.cascade_mask_rcnn_fpn("R_50", "3x"), (512, 512)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_operations_are_built_in(name):
    make_config, size = ARCHITECTURES[name]
    config = make_config()
    parts = build_parts(config, implementation="portable")
    content = lite.convert_to_tflite(LiteGraph(parts, config, size))
    lite_file.check_operators(content)
    found = lite_file.operators(content)
    assert not [name for name in found if name.startswith("Flex") or name == "CUSTOM"]
    assert found["NON_MAX_SUPPRESSION_V4"] == 2
    print(name, size, f"{len(content) / 1e6:.1f} MB, {sum(found.values())} operations of {len(found)} kinds")
