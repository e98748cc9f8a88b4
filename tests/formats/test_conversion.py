"""Tests that each format gives the same COCO content, from ground truth in the conventions of each tool."""

import annotation_samples as samples
import numpy as np
import pytest
from format_samples import SAMPLES, WITHOUT_CROWD, found_objects, write_sample

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.formats.conversion import read, write
from mask_rcnn.formats.detection import detect_format


def assert_same(content, expected, classes=None, boxes_only=(), no_crowds=False):
    """Compares class, crowd flag, mask and box of each object, in the order of the file."""
    found = found_objects(content)
    truth = samples.truth()
    assert len(found) == len(expected)
    for name in expected:
        image, label, mask, crowd = truth[name]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
        is_near = [np.abs(np.subtract(each[4], box)).max() <= 1 for each in found if each[0] == image[0]]
        assert sum(is_near) == 1, name
        (one,) = (
            each for each in found if each[0] == image[0] and np.abs(np.subtract(each[4], box)).max() <= 1
        )
        assert one[1] == (classes or {}).get(name, label)
        assert one[3] == (crowd and not no_crowds)
        if name in boxes_only:
            assert one[2] is None
        else:
            assert (one[2] & mask).sum() / (one[2] | mask).sum() >= 0.99, name


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_becomes_the_ground_truth(sample, tmp_path):
    name, expected = SAMPLES[sample]
    path = write_sample(sample, tmp_path)
    classes = samples.CITYSCAPES_CLASSES if name == "cityscapes" else None
    content = read(name, path, tmp_path, boxes_as_masks=True)
    assert_same(content, expected, classes, no_crowds=name == "via")
    sizes = {(image["height"], image["width"]) for image in content["images"]}
    assert sizes == {samples.SIZES[key] for key in samples.SIZES if name != "cityscapes" or key != "b.jpg"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_format_of_a_sample_is_detected(sample, tmp_path):
    assert detect_format(write_sample(sample, tmp_path)) == SAMPLES[sample][0]


@pytest.mark.parametrize("sample", ["labelme", "yolo", "via", "cvat", "label_studio"])
def test_a_rectangle_is_a_box_without_a_mask_and_is_reported(sample, tmp_path):
    findings = Findings()
    content = read(SAMPLES[sample][0], write_sample(sample, tmp_path), tmp_path, findings=findings)
    expected = SAMPLES[sample][1]
    assert_same(content, expected, boxes_only=("rectangle",), no_crowds=sample == "via")
    assert any("rectangles have become boxes without a mask" in line for line in findings.lines())


@pytest.mark.parametrize("target", ["coco", "labelme", "yolo", "voc", "masks", "cvat"])
def test_what_is_written_is_read_back(target, tmp_path):
    source = samples.write_coco(tmp_path / "source")
    content = read("coco", source)
    content["categories"].append({"id": 90, "name": "cow"})  # without objects
    out = tmp_path / ("out.json" if target == "coco" else "out")
    findings = Findings()
    write(target, content, tmp_path / "source", out=out, findings=findings)
    again = read(target, out, out if target in ("voc", "yolo") else tmp_path / "source")
    assert_same(again, WITHOUT_CROWD if target == "yolo" else samples.ALL)
    assert len(again["images"]) == 3
    assert [category["name"] for category in again["categories"]] == ["cat", "dog", "bus", "cow"]
    lost = {"yolo": "YOLO segmentation has no crowd regions"}
    assert [lost[target] in line for line in findings.lines()[:1]] == ([True] if target in lost else [])


def test_a_converted_data_set_can_be_trained_on(tmp_path):
    content = read("labelme", samples.write_labelme(tmp_path), tmp_path)
    write("coco", content, tmp_path, out=tmp_path / "out.json")
    dataset = read_coco(tmp_path / "out.json", tmp_path)
    assert [category.name for category in dataset.categories] == ["bus", "cat", "dog"]
    assert [len(image.annotations) for image in dataset.images] == [5, 1, 0]
    assert dataset.warnings == ()
