"""Tests of predictions written for labeling tools, and read back as annotations."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from cli_fakes import run, write_image

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.masks import full_mask
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.formats.brush_rle import decode_brush, encode_brush
from mask_rcnn.formats.conversion import Selection, read, write
from mask_rcnn.formats.polygons import mask_polygons
from mask_rcnn.structures import Category, Detections

CATEGORIES = (Category(7, "apple"), Category(9, "pear"))
SIZE = (32, 48)


def ring_and_island():
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:20] = True
    mask[5:9, 6:14] = False
    mask[15:18, 22:29] = True
    return mask


def disk():
    y, x = np.mgrid[:25, :25] - 12
    return x**2 + y**2 <= 144


def write_predictions(folder, named=True):
    """Writes images, annotations, and three predictions, one of score 0.3; returns the results' path."""
    masks = ((ring_and_island(), (5, 10)), (disk(), (3, 0)), (np.ones((4, 4), bool), (0, 0)))
    entries = []
    for image_id, found in ((1, [0, 2]), (2, [1])):
        write_image(folder / "photos" / f"{image_id}.png")
        detections = Detections(
            boxes=[[4.5, 10, 25, 40]] * len(found),
            scores=[(0.9, 0.75, 0.3)[i] for i in found],
            class_ids=[(1, 2, 1)[i] for i in found],
            image_size=SIZE,
            masks=[masks[i][0] for i in found],
            mask_origins=[masks[i][1] for i in found],
        )
        for entry in to_coco(detections, image_id, CATEGORIES):
            name = {7: "apple", 9: "pear"}[entry["category_id"]]
            entries.append(entry | ({"file_name": f"{image_id}.png", "category_name": name} if named else {}))
    (folder / "found.json").write_text(json.dumps(entries))
    images = [{"id": i, "file_name": f"{i}.png", "height": 32, "width": 48} for i in (1, 2, 3)]
    write_image(folder / "photos" / "3.png")
    categories = [{"id": 7, "name": "apple"}, {"id": 9, "name": "pear"}, {"id": 11, "name": "plum"}]
    content = {"images": images, "categories": categories, "annotations": []}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "found.json"


def objects(content):
    """Returns `{(image name, class): mask}` of COCO content."""
    images = {image["id"]: image["file_name"] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    return {
        (images[each["image_id"]], names[each["category_id"]]): full_mask(each["segmentation"], *SIZE)
        for each in content["annotations"]
    }


@pytest.mark.parametrize("polygons", [None, 0.0, 0.5])
@pytest.mark.parametrize("tool", ["cvat", "label_studio", "labelme", "coco"])
def test_predictions_are_corrected_in_a_tool_and_come_back(tool, polygons, tmp_path):
    content = read("coco_results", write_predictions(tmp_path), tmp_path / "photos")
    out = tmp_path / ("out.json" if tool == "coco" else "out")
    write(tool, content, tmp_path / "photos", out=out, selection=Selection(polygon_tolerance=polygons))
    back = objects(read(tool, out, tmp_path / "photos"))
    expected = objects(content)
    assert back.keys() == expected.keys() == {("1.png", "apple"), ("2.png", "pear")}
    for key, mask in expected.items():
        least = 1 if not polygons else 0.99
        assert (back[key] & mask).sum() / (back[key] | mask).sum() >= least, key


def test_predictions_below_the_threshold_are_left_out_with_their_count(tmp_path):
    findings = Findings()
    path = write_predictions(tmp_path)
    content = read("coco_results", path, tmp_path / "photos", findings=findings)
    assert [each["score"] for each in content["annotations"]] == [pytest.approx(0.9), pytest.approx(0.75)]
    assert findings.lines() == [
        "predictions with scores below 0.5 were left out (`--score-threshold`) (1: prediction 2)"
    ]
    assert len(read("coco_results", path, tmp_path / "photos", score_threshold=0.3)["annotations"]) == 3


def test_a_coco_json_names_images_and_classes_of_ids(tmp_path):
    path = write_predictions(tmp_path, named=False)
    with pytest.raises(ValueError, match=r"entry 0 of .*found.json.*`--annotations`"):
        read("coco_results", path, tmp_path / "photos")
    content = read("coco_results", path, tmp_path / "photos", annotations=tmp_path / "instances.json")
    assert [image["file_name"] for image in content["images"]] == ["1.png", "2.png", "3.png"]
    assert [category["name"] for category in content["categories"]] == ["apple", "pear", "plum"]
    assert content["annotations"][0]["bbox"] == [13, 7, 26, 16]  # the box of the mask, not of the box head


def test_keypoints_frames_and_objects_without_pixels(tmp_path):
    path = write_predictions(tmp_path)
    first, *_ = json.loads(path.read_text())
    boxes = [[40, 30, 20, 20], [60, 10, 5, 5]]
    entries = [{**first, "bbox": box, "keypoints": [1, 2, 0.5]} for box in boxes]
    for entry in entries:
        del entry["segmentation"]
    path.write_text(json.dumps(entries))
    findings = Findings()
    content = read("coco_results", path, tmp_path / "photos", findings=findings)
    assert [each["bbox"] for each in content["annotations"]] == [[40, 30, 8, 2]]
    assert [line.partition(" (")[0] for line in findings.lines()] == [
        "keypoints of predictions were left out",
        "predictions without a pixel in the image were left out",
    ]
    path.write_text(json.dumps([{**first, "frame": 3}]))
    with pytest.raises(ValueError, match=r"a frame of the video '1.png'"):
        read("coco_results", path, tmp_path / "photos")


def test_tasks_of_label_studio_have_predictions_with_scores_and_a_version(tmp_path):
    content = read("coco_results", write_predictions(tmp_path), tmp_path / "photos", score_threshold=0)
    write(
        "label_studio",
        content,
        tmp_path / "photos",
        out=tmp_path / "out",
        selection=Selection(model_version="fruits 3"),
    )
    first, second = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert first["data"] == {"image": "/data/local-files/?d=1.png"}
    (prediction,) = first["predictions"]
    assert prediction["model_version"] == "fruits 3" and prediction["score"] == pytest.approx(0.6)
    region = prediction["result"][0]
    assert {
        key: region[key] for key in ("type", "from_name", "to_name", "original_width", "original_height")
    } == {
        "type": "brushlabels",
        "from_name": "brush",
        "to_name": "image",
        "original_width": 48,
        "original_height": 32,
    }
    assert region["value"]["brushlabels"] == ["apple"] and region["score"] == pytest.approx(0.9)
    config = ElementTree.parse(tmp_path / "out" / "labeling_config.xml")
    assert [tag.tag for tag in config.getroot()] == ["Image", "BrushLabels"]
    assert [label.get("value") for label in config.iter("Label")] == ["apple", "pear"]
    assert len(second["predictions"][0]["result"]) == 1


def test_ground_truth_for_label_studio_has_annotations_and_no_crowds(tmp_path):
    path, findings = write_predictions(tmp_path), Findings()
    content = read("coco_results", path, tmp_path / "photos")
    for each in content["annotations"]:
        del each["score"]
    content["annotations"][1]["iscrowd"] = 1
    write("label_studio", content, tmp_path / "photos", out=tmp_path / "out", findings=findings)
    first, second = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert "predictions" not in first and second == {
        "data": {"image": "/data/local-files/?d=2.png"},
        "annotations": [{"result": []}],
    }
    assert findings.lines() == ["Label Studio has no crowd regions: they were left out (1: annotation 3)"]


def test_scores_are_in_the_files_of_cvat_labelme_and_coco(tmp_path):
    content = read("coco_results", write_predictions(tmp_path), tmp_path / "photos")
    for tool in ("cvat", "labelme"):
        write(tool, content, tmp_path / "photos", out=tmp_path / tool)
    write("coco", content, tmp_path / "photos", out=tmp_path / "coco.json")
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml")
    assert [each.text for each in root.iter("attribute")] == ["0.9", "0.75"]
    shapes = json.loads((tmp_path / "labelme" / "1.json").read_text())["shapes"]
    assert [shape["score"] for shape in shapes] == [pytest.approx(0.9)]
    annotations = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [each["score"] for each in annotations] == [pytest.approx(0.9), pytest.approx(0.75)]


def test_coarse_polygons_are_counted(tmp_path):
    content = read("coco_results", write_predictions(tmp_path), tmp_path / "photos")
    findings = Findings()
    write(
        "coco",
        content,
        tmp_path / "photos",
        out=tmp_path / "a.json",
        selection=Selection(polygon_tolerance=8),
        findings=findings,
    )
    assert "polygons have an IoU below 0.95 with their mask" in findings.lines()[0]
    with pytest.raises(ValueError, match="`--polygons` is a number of pixels"):
        Selection(polygon_tolerance=-1)


def test_simple_polygons_keep_corners_and_smooth_stairs():
    (rectangle,) = mask_polygons(np.ones((6, 9), bool), 0.5)
    assert {tuple(point) for point in rectangle.tolist()} == {(0, 0), (9, 0), (9, 6), (0, 6)}
    (exact,), (simple,) = mask_polygons(disk(), 0), mask_polygons(disk(), 0.5)
    assert len(simple) <= len(exact) / 2
    drawn = full_mask([simple.ravel().tolist()], 25, 25)
    assert (drawn & disk()).sum() / (drawn | disk()).sum() >= 0.98


@pytest.mark.parametrize(("share", "width"), [(0.0, 530), (0.4, 53), (1.0, 530)])
def test_brush_run_lengths_are_the_inverse_of_their_reader(share, width):
    mask = np.random.default_rng(0).random((37, width)) < share  # with runs longer than 16 bits can count
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), mask.shape), mask)


def test_the_command_reads_what_detect_writes(tmp_path, capsys):
    path = write_predictions(tmp_path)
    photos, out = tmp_path / "photos", tmp_path / "tasks"
    words = ("--images", photos, "--to", "label_studio", "--polygons", "0", "--model-version", "v2")
    assert run("data", "convert", path, out, *words) == 0
    printed = capsys.readouterr()
    assert f"{path} is read as coco_results" in printed.out
    assert "2 images, 2 objects, 0 crowd regions, 2 classes" in printed.out
    assert "predictions with scores below 0.5 were left out" in printed.err
    assert run("data", "convert", out, tmp_path / "back.json", "--images", photos) == 0
    printed = capsys.readouterr()
    assert f"{out} is read as label_studio" in printed.out
    assert "tasks without annotations: the predictions of a model were taken (2" in printed.err
    words = ("--annotations", tmp_path / "instances.json", "--score-threshold", "0.8", "--images", photos)
    assert run("data", "convert", path, tmp_path / "all.json", *words) == 0
    assert "3 images, 1 objects, 0 crowd regions, 3 classes" in capsys.readouterr().out
