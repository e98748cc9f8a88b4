"""Parity tests of torchvision's models."""

import pytest
from parity_harness import KeypointTests, MaskTests, ParityTests


class TestMaskRcnn(ParityTests, MaskTests):
    fixture = "maskrcnn_resnet50_fpn"


@pytest.mark.slow
class TestMaskRcnnV2(ParityTests, MaskTests):
    fixture = "maskrcnn_resnet50_fpn_v2"


@pytest.mark.slow
class TestKeypointRcnn(ParityTests, KeypointTests):
    fixture = "keypointrcnn_resnet50_fpn"
