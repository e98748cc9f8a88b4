"""Tests that a check never fails on damaged files, reports each of them, and repairs what it can read."""

import itertools
import json
from pathlib import Path

import pytest
from damaged_coco import KINDS, damaged_coco, valid_content, write_images
from faulty_coco import clean_content
from hostile_images import hostile_files

from mask_rcnn import model_zoo
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data_check.check import check_coco
from mask_rcnn.data_check.repair import repair_coco
from mask_rcnn.data_check.text_report import format_report
from mask_rcnn.system.terminal import printable

CONFIG = model_zoo.config("fine_tune")
# Findings of the undamaged data set, which is too small for training.
OF_THE_VALID = {"rare_classes", "similar_images", "identical_images", "anchors"}


# Findings that must not occur in a repaired copy.
REPAIRED = {
    "bad_image",
    "bad_annotation",
    "outside_box",
    "self_crossing",
    "box_and_mask",
    "mask_area",
    "duplicate_objects",
    "unclear_entries",
    "unreadable_json",
}


def check(folder, name):
    report, sets = check_coco({"train": (folder / name, folder)}, CONFIG, "fine_tune")
    assert printable(format_report(report))
    assert json.loads(json.dumps(report.as_dict()))
    return report, sets


def check_damaged(kind, seeds, folder):
    """Checks damaged files. What the reader repairs, refuses or leaves out must be among the findings."""
    write_images(folder)
    for seed in seeds:
        (folder / "damaged.json").write_bytes(damaged_coco(kind, seed))
        report, sets = check(folder, "damaged.json")
        found = {finding.kind for finding in report.findings}
        if "train" not in sets:
            assert found & {"unreadable_json", "unclear_entries"} and report.count("error")
            continue
        reading = sets["train"].reading
        if reading.left_out:
            assert found & {"bad_image", "bad_annotation"}
        if reading.entries.findings.repairs and len(reading.dataset):
            assert found - OF_THE_VALID
        check_repaired(folder, sets["train"])


def check_repaired(folder, checked):
    """Repairs a damaged file, unless none of its images can be used, and checks the copy."""
    try:
        repair_coco(folder / "damaged.json", folder, folder / "fixed.json", checked=checked)
    except ValueError as error:
        assert "at least one image" in str(error) and not len(checked.dataset)
        return
    report, _ = check(folder, "fixed.json")
    assert not REPAIRED & {finding.kind for finding in report.findings}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_json_is_reported(kind, tmp_path):
    check_damaged(kind, range(2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_damaged_jsons_are_reported(kind, tmp_path):
    check_damaged(kind, range(2, 60), tmp_path)


def test_the_content_that_is_damaged_has_only_the_findings_of_its_size(tmp_path):
    write_images(tmp_path)
    (tmp_path / "valid.json").write_text(json.dumps(valid_content()))
    report, _ = check(tmp_path, "valid.json")
    assert {finding.kind for finding in report.findings} <= OF_THE_VALID | {"mixed_color"}


@pytest.mark.parametrize("step", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_image_files_are_reported(step, tmp_path):
    files = itertools.takewhile(lambda file: file[0] != "metadata", hostile_files(large=False))
    files = list(files)[::step]
    names = [f"{number}-{Path(name).name}" for number, (_, name, _) in enumerate(files)]
    for name, (_, _, contents) in zip(names, files, strict=True):
        (tmp_path / name).write_bytes(contents)
    content = clean_content()
    content["images"] = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    content["annotations"] = []
    (tmp_path / "hostile.json").write_text(json.dumps(content))
    _, sets = check(tmp_path, "hostile.json")
    bad = sets["train"].bad_files()
    for number, name in enumerate(names):
        try:
            read_image(tmp_path / name)
        except (ValueError, OSError):
            assert number in bad, name
        else:
            assert number not in bad, name
    assert 0 < len(bad) < len(names)
