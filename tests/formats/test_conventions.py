"""Tests of conventions of single formats, and of their geometry functions."""

import json

import annotation_samples as samples
import numpy as np
import pytest
import yaml
from format_samples import found_objects
from PIL import Image

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.masks import full_mask
from mask_rcnn.formats import shapes
from mask_rcnn.formats.brush_rle import decode_brush
from mask_rcnn.formats.conversion import read, write
from mask_rcnn.formats.dataset_files import relative_name
from mask_rcnn.formats.detection import detect_format
from mask_rcnn.formats.id_maps import instance_masks
from mask_rcnn.formats.outlines import join_rings, mask_outlines


@pytest.mark.parametrize("seed", range(8))
def test_outlines_are_exact_apart_and_as_one_polygon(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 30)) < 0.15 + 0.1 * seed
    rings = [ring for ring, _ in mask_outlines(mask)]
    joined = full_mask([join_rings(rings).ravel().tolist()], 20, 30)
    np.testing.assert_array_equal(joined, mask)
    parts = np.zeros((20, 30), bool)
    for ring in rings:
        parts ^= full_mask([ring.ravel().tolist()], 20, 30)
    np.testing.assert_array_equal(parts, mask)


def test_long_outlines_are_joined_without_comparing_all_points(monkeypatch):
    monkeypatch.setattr("mask_rcnn.formats.outlines.MAX_PAIRS", 100)
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    joined = join_rings([ring for ring, _ in mask_outlines(mask)])
    np.testing.assert_array_equal(full_mask([joined.ravel().tolist()], 20, 30), mask)


def test_parts_without_a_pixel_stay_a_polygon_of_yolo(tmp_path):
    content = read("coco", samples.write_coco(tmp_path))
    slivers = [[10, 10.1, 40, 10.2, 40, 10.3], [10, 20.1, 40, 20.2, 50, 20.3, 40, 20.4]]
    content["annotations"] = [{**content["annotations"][1], "segmentation": slivers}]
    write("yolo", content, tmp_path, out=tmp_path / "yolo")
    words = (tmp_path / "yolo" / "labels" / "train" / "a.txt").read_text().split()
    assert words[0] == "1" and len(words) == 9


def test_an_outline_has_corners_only_and_tells_holes():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    (outer, is_hole), (inner, is_inner_hole) = sorted(mask_outlines(mask), key=lambda each: each[1])
    assert sorted(map(tuple, outer.tolist())) == [(0, 0), (0, 5), (6, 0), (6, 5)]
    assert sorted(map(tuple, inner.tolist())) == [(2, 2), (2, 3), (4, 2), (4, 3)]
    assert (is_hole, is_inner_hole) == (False, True)


def test_instances_are_the_crops_of_each_id():
    found = instance_masks(np.array([[0, 7, 7], [3, 0, 7]]))
    assert list(found) == [3, 7]
    assert found[3][1] == (1, 0) and found[3][0].tolist() == [[True]]
    assert found[7][1] == (0, 1) and found[7][0].tolist() == [[True, True], [False, True]]
    assert instance_masks(np.zeros((2, 2), int)) == {}


def test_rectangles_turn_clockwise_about_their_pivot():
    np.testing.assert_allclose(
        shapes.rectangle((0, 0), (4, 2), degrees=90), [[3, -1], [3, 3], [1, 3], [1, -1]], atol=1e-9
    )
    turned = shapes.rectangle((0, 0), (4, 2), degrees=90, pivot=(0, 0))
    np.testing.assert_allclose(turned, [[0, 0], [0, 4], [-2, 4], [-2, 0]], atol=1e-9)


@pytest.mark.parametrize("radius", [2, 30, 400])
def test_a_circle_is_exact_to_a_twentieth_of_a_pixel(radius):
    points = shapes.ellipse((500, 500), (radius, radius))
    middles = (points + np.roll(points, 1, axis=0)) / 2
    assert radius - np.hypot(*(middles - 500).T).min() <= 0.051


def test_an_ellipse_turns_clockwise():
    points = shapes.ellipse((10, 20), (8, 2), degrees=90)
    np.testing.assert_allclose([points.min(0), points.max(0)], [[8, 12], [12, 28]], atol=1e-9)


def test_brush_run_lengths_with_single_values_and_short_words():
    # 8 values of 4 bits, lengths of 1, 2, 3 and 4 bits: three single values 0, 1, 2, then five times 15.
    bits = (
        f"{8:032b}{3:05b}{0:04b}{1:04b}{2:04b}{3:04b}"
        + "0"
        + "01"
        + "10"
        + "000000010010"
        + "1"
        + "10"
        + "100"
        + "1111"
    )
    bits += "0" * (-len(bits) % 8)
    data = np.array([int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)], "uint8")
    # Alpha is the fourth value of each pixel: 15 and 15.
    assert decode_brush(data, (1, 2)).tolist() == [[True, True]]
    with pytest.raises(ValueError, match="end too early"):
        decode_brush(data[:-3], (1, 2))
    with pytest.raises(ValueError, match="8 values instead of 12, four for each pixel"):
        decode_brush(data, (1, 3))


def test_brush_run_lengths_of_random_masks():
    mask = np.random.default_rng(0).random((37, 53)) < 0.4
    np.testing.assert_array_equal(decode_brush(np.array(samples.brush_rle(mask), "uint8"), mask.shape), mask)


@pytest.mark.parametrize("name", ["../../etc/a.png", "/etc/a.png", "C:\\etc\\a.png", "etc/../../etc/a.png"])
def test_no_name_of_a_json_leads_out_of_the_folder(name):
    assert relative_name(name, "train", ".txt").parts[0] == "train"
    assert ".." not in relative_name(name).parts and not relative_name(name).is_absolute()


def test_a_polygon_is_clipped_to_the_image(tmp_path):
    path = samples.write_labelme(tmp_path)
    content = json.loads((path / "a.json").read_text())
    content["shapes"] = [content["shapes"][0]]
    content["shapes"][0]["points"] = [[-30, 30], [45, -45], [120, 30], [45, 105]]  # a rhombus
    (path / "a.json").write_text(json.dumps(content))
    findings = Findings()
    found = read("labelme", path, tmp_path, findings=findings)
    (one,) = (each for each in found["annotations"] if each["image_id"] == 1)
    assert one["bbox"] == [0, 0, 90, 60]
    assert any("they were clipped" in line for line in findings.lines())
    assert one["area"] == 90 * 60


@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_a_rectangle_of_labelme_may_have_four_corners(kind, tmp_path):
    path = samples.write_labelme(tmp_path)
    content = json.loads((path / "b.json").read_text())
    content["shapes"][0] |= {"shape_type": kind, "points": [[10, 20], [20, 10], [30, 20], [20, 30]]}
    (path / "b.json").write_text(json.dumps(content))
    (one,) = (each for each in read("labelme", path, tmp_path)["annotations"] if each["image_id"] == 2)
    assert one["bbox"] == [10, 10, 20, 20] and "segmentation" not in one


@pytest.mark.parametrize(
    ("corners", "box"), [([[5, 35], [35, 57]], [5, 35, 30, 22]), ([[-6, 50], [23, 71]], [0, 50, 24, 10])]
)
def test_a_mask_of_labelme_may_lack_the_far_pixel_in_its_box_or_reach_out_of_the_image(
    corners, box, tmp_path
):
    path = samples.write_labelme(tmp_path)
    content = json.loads((path / "a.json").read_text())
    content["shapes"] = [{**content["shapes"][2], "points": corners}]
    (path / "a.json").write_text(json.dumps(content))
    assert read("labelme", path, tmp_path)["annotations"][0]["bbox"] == box


def test_label_studio_finds_an_image_by_the_name_of_its_upload(tmp_path):
    path = samples.write_label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    tasks[0] |= {"file_upload": "1f0e5a77-a.png", "data": {"photo": "/image2"}}
    path.write_text(json.dumps(tasks))
    assert read("label_studio", path)["images"][0]["file_name"] == "a.png"


def test_an_object_outside_of_the_image_is_left_out(tmp_path):
    path = samples.write_via(tmp_path)
    path.write_text(path.read_text().replace('"x": 10', '"x": 1000'))
    findings = Findings()
    assert len(read("via", path, findings=findings)["annotations"]) == 3
    assert any("without a pixel in the image" in line for line in findings.lines())


def test_voc_takes_a_part_of_the_images_and_ignores_images_without_masks(tmp_path):
    findings = Findings()
    whole = read("voc", samples.write_voc(tmp_path), findings=findings)
    assert [image["file_name"] for image in whole["images"]] == [
        f"JPEGImages/{name}" for name in samples.SIZES
    ]
    lines = "\n".join(findings.lines())
    assert "images without a file in SegmentationObject were left out (1: boxes_only)" in lines
    assert "void pixels (255) belong to no object (3: a.png, b.png, c.png)" in lines
    assert "difficult objects have become crowds" in lines
    assert len(read("voc", tmp_path, subset="val")["images"]) == 2
    with pytest.raises(FileNotFoundError, match="test.txt"):
        read("voc", tmp_path, subset="test")


def test_voc_masks_that_are_numbered_otherwise_are_matched_by_their_boxes(tmp_path):
    path = samples.write_voc(tmp_path)
    file = path / "SegmentationObject" / "a.png"
    ids = np.asarray(Image.open(file))
    Image.fromarray(np.where((ids > 0) & (ids < 255), 6 - ids, ids).astype("uint8")).save(file)
    findings = Findings()
    found = [each for each in found_objects(read("voc", path, findings=findings)) if each[0] == "a"]
    assert [each[1] for each in found] == ["cat", "dog", "cat", "dog", "bus"]
    np.testing.assert_array_equal(found[0][2], samples.truth()["l_shape"][2])
    assert any("by their boxes, not by number (4:" in line for line in findings.lines())


def test_boxes_of_voc_count_pixels_from_1(tmp_path):
    path = samples.write_voc(tmp_path)
    for file in (path / "SegmentationObject").iterdir():
        file.unlink()
    (path / "Annotations" / "boxes_only.xml").unlink()
    assert read("voc", path)["annotations"][0]["bbox"] == [5, 5, 20, 25]


def test_via_1_check_boxes_and_ellipses(tmp_path):
    samples.write_images(tmp_path)
    shape = {"name": "ellipse", "cx": 45, "cy": 30, "rx": 20, "ry": 8, "theta": np.pi / 2}
    region = {
        "shape_attributes": shape,
        "region_attributes": {"class": {"cat": True, "dog": False}, "note": "x"},
    }
    export = {"a.png1": {"filename": "a.png", "size": 1, "regions": {"0": region}}}
    (tmp_path / "export.json").write_text(json.dumps(export))
    (one,) = read("via", tmp_path / "export.json")["annotations"]
    np.testing.assert_allclose(one["bbox"], [37, 10, 16, 40], atol=0.01)
    assert one["area"] == pytest.approx(np.pi * 20 * 8, rel=0.02)


def test_via_without_attributes_has_one_class(tmp_path):
    path = samples.write_via(tmp_path)
    path.write_text(path.read_text().replace('{"animal": "cat"}', "{}").replace('{"animal": "dog"}', "{}"))
    path.write_text(path.read_text().replace('{"animal": "bus"}', "{}"))
    findings = Findings()
    assert read("via", path, findings=findings)["categories"] == [{"id": 1, "name": "object"}]
    assert any("no region has a class" in line for line in findings.lines())


def test_label_studio_takes_the_first_annotation_that_was_not_cancelled(tmp_path):
    path = samples.write_label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    first = tasks[0]["annotations"][0]
    tasks[0]["annotations"] = [
        {**first, "was_cancelled": True},
        {**first, "result": first["result"][:1]},
        first,
    ]
    path.write_text(json.dumps(tasks))
    findings = Findings()
    assert len(read("label_studio", path, findings=findings)["annotations"]) == 2
    assert any("several annotations: the first one was taken" in line for line in findings.lines())


def test_label_studio_refuses_a_rotated_image(tmp_path):
    path = samples.write_label_studio(tmp_path)
    path.write_text(path.read_text().replace('"image_rotation": 0', '"image_rotation": 90', 1))
    with pytest.raises(ValueError, match="image_rotation=90"):
        read("label_studio", path)


def test_cvat_refuses_tracks(tmp_path):
    path = samples.write_cvat(tmp_path)
    path.write_text(path.read_text().replace("</meta>", '</meta><track id="0" label="cat"></track>'))
    with pytest.raises(ValueError, match="with tracks.*Export the task as `CVAT for images 1.1`"):
        read("cvat", path)


def test_maps_of_ids_and_the_folders_of_the_nuclei_challenge(tmp_path):
    samples.write_images(tmp_path / "photos")
    (tmp_path / "maps").mkdir()
    ids = np.zeros((60, 90), "uint16")
    ids[5:20, 5:20], ids[30:50, 40:80] = 300, 2
    (tmp_path / "maps" / "a.png").write_bytes(samples.png(ids))
    content = read("masks", tmp_path / "maps", tmp_path / "photos")
    assert [each["bbox"] for each in content["annotations"]] == [[40, 30, 40, 20], [5, 5, 15, 15]]
    assert content["categories"] == [{"id": 1, "name": "object"}]
    for number, id in enumerate((2, 300)):
        file = tmp_path / "nuclei" / "x1" / "masks" / f"{number}f3.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(samples.png((ids == id).astype("uint8") * 255))
    samples.write_images(
        tmp_path / "nuclei" / "x1" / "images", {"a.png": "x1.png", "b.jpg": "y.jpg", "c.png": "z.png"}
    )
    again = read("masks", tmp_path / "nuclei")
    assert again["images"][0]["file_name"] == "x1/images/x1.png"
    assert [each["bbox"] for each in again["annotations"]] == [[40, 30, 40, 20], [5, 5, 15, 15]]


def test_yolo_with_lists_of_files_and_the_folders_of_roboflow(tmp_path):
    path = samples.write_yolo(tmp_path)
    content = yaml.safe_load(path.read_text())
    (tmp_path / "files.txt").write_text("./images/train/a.png\nimages/train/c.png\n")
    path.write_text(
        yaml.safe_dump({**content, "train": "files.txt", "val": "../images/train", "names": ["x", "y", "z"]})
    )
    assert len(read("yolo", path, subset="train")["images"]) == 2
    assert len(read("yolo", path)["images"]) == 3
    with pytest.raises(ValueError, match="Expected `test` of .*data.yaml to be a folder"):
        read("yolo", path, subset="test")


def test_lvis_says_that_not_all_objects_are_labeled(tmp_path):
    findings = Findings()
    content = read("lvis", samples.write_lvis(tmp_path), findings=findings)
    assert content["images"][0]["file_name"] == "val2017/a.png"
    assert any("not labeled for all classes" in line for line in findings.lines())


def test_coco_keeps_ids_and_keypoints(tmp_path):
    path = samples.write_coco(tmp_path)
    content = json.loads(path.read_text())
    content["categories"][0] |= {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    content["annotations"][0] |= {"keypoints": [6, 6, 2, 0, 0, 0], "num_keypoints": 1}
    path.write_text(json.dumps(content))
    again = read("coco", path)
    assert [image["id"] for image in again["images"]] == [11, 12, 13]
    assert again["categories"][0] == content["categories"][0]
    assert again["annotations"][0]["keypoints"] == [6, 6, 2, 0, 0, 0]
    assert "keypoints" not in again["annotations"][1]


def test_pascal_voc_says_which_pixels_an_overlap_costs(tmp_path):
    path = samples.write_coco(tmp_path)
    content = read("coco", path)
    content["annotations"].append({**content["annotations"][0], "id": 99})
    findings = Findings()
    write("voc", content, tmp_path, out=tmp_path / "voc", findings=findings)
    assert findings.lines() == [
        "objects overlap: a pixel belongs to the smallest of them in Pascal VOC (1: 350 pixels of a)"
    ]


@pytest.mark.parametrize("target", ["voc", "yolo", "masks", "labelme"])
def test_images_of_one_name_are_refused_where_the_format_has_no_place_for_both(target, tmp_path):
    content = read("coco", samples.write_coco(tmp_path))
    content["images"][1]["file_name"] = "a.jpg"
    Image.new("RGB", (70, 40)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="Rename the image"):
        write(target, content, tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{}", "[]", '{"images": []}'])
def test_a_json_of_an_unknown_format_is_refused(content, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(
        ValueError, match="whose format is not known. Name the format with `--from`: cityscapes"
    ):
        detect_format(tmp_path / "x.json")


def test_a_folder_of_two_formats_is_refused(tmp_path):
    samples.write_yolo(tmp_path)
    samples.write_cvat(tmp_path)
    with pytest.raises(ValueError, match="which could be yolo or cvat"):
        detect_format(tmp_path)
