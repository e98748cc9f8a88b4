"""Parity tests of detectron2's models."""

import pytest
from parity_harness import MaskTests, ParityTests


class TestR50Fpn(ParityTests, MaskTests):
    fixture = "mask_rcnn_R_50_FPN_3x"


@pytest.mark.slow
class TestR50C4(ParityTests, MaskTests):
    fixture = "mask_rcnn_R_50_C4_3x"


@pytest.mark.slow
class TestX101Fpn(ParityTests, MaskTests):
    fixture = "mask_rcnn_X_101_32x8d_FPN_3x"
