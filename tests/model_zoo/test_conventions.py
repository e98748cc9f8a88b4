"""Tests of the table of conventions, which the documentation shows."""

import pytest
from locations import ROOT

from mask_rcnn.cli.main import main
from mask_rcnn.model_zoo.conventions import MODELS, table


def rows(*models):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(models).splitlines()]
    return {name: values for name, *values in cells}


def test_a_row_holds_the_default_and_what_models_have_instead():
    found = rows("torchvision/maskrcnn_resnet50_fpn", "matterport/mask_rcnn_coco")
    assert found["field"] == ["default", "torchvision/maskrcnn_resnet50_fpn", "matterport/mask_rcnn_coco"]
    assert found["`input.size_rounding`"] == ["round", "floor", "half_even"]
    assert found["`input.padded_size`"] == ["–", "", "1024 1024"]
    assert found["`input.mean`"] == ["123.675 116.28 103.53", "", "123.7 116.8 103.9"]
    assert found["`backbone.norm_epsilon`"] == ["1e-05", "0", "0.001"]


def test_fields_in_which_all_agree_with_the_default_are_left_out():
    found = rows("torchvision/maskrcnn_resnet50_fpn")
    assert "`rpn.joint_levels`" not in found
    assert not any("train." in name for name in found)


def test_a_part_that_a_model_does_without_has_no_values():
    assert rows("detectron2/mask_rcnn_R_50_C4_3x")["`fpn.channels`"] == ["256", "–"]


def test_the_command_prints_the_table(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["mask-rcnn", "config", "conventions"])
    assert capsys.readouterr().out.strip() == table(MODELS)


def test_the_documentation_shows_the_table_of_today():
    page = ROOT / "docs/conventions.md"
    assert table(MODELS) in page.read_text(encoding="utf-8")
