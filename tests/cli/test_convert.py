"""Tests of `mask-rcnn data convert`: options, summary, filters, merges and splits."""

import json
import re

import annotation_samples as samples
import pytest
from cli_fakes import run

from mask_rcnn.data.findings import Findings
from mask_rcnn.formats.selection import keep_classes, merge_classes, split_images


def content_of(path):
    content = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    return content, sorted(names[each["category_id"]] for each in content["annotations"])


def test_the_format_is_detected_and_the_result_is_summed_up(tmp_path, capsys):
    path = samples.write_labelme(tmp_path)
    out = tmp_path / "out.json"
    assert run("data", "convert", path, "--images", tmp_path, out) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{path} is read as labelme",
        "3 images, 5 objects, 1 crowd regions, 3 classes",
        f"written: {out}; `file_name`s are relative to {tmp_path}",
    ]
    assert (
        "note: shapes other than polygon, mask, circle and rectangle were left out (1: shapes[6] of"
        in said.err
    )
    assert "note: rectangles have become boxes without a mask" in said.err
    content, classes = content_of(out)
    assert content["images"][0]["file_name"] == "photos/a.png"
    assert classes == ["bus", "cat", "cat", "cat", "dog", "dog"]


def test_classes_are_merged_and_then_filtered(tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    words = ["--merge", "pet=cat,dog", "--classes", "pet", tmp_path / "out.json"]
    assert run("data", "convert", "--from", "coco", path, *words) == 0
    content, classes = content_of(tmp_path / "out.json")
    assert classes == ["pet"] * 5
    assert content["categories"] == [{"id": 3, "name": "pet"}]
    assert len(content["images"]) == 3
    assert "objects of other classes than `--classes` were left out (1: bus)" in capsys.readouterr().err


def test_a_split_writes_two_files_without_a_common_image(tmp_path):
    path = samples.write_coco(tmp_path)
    assert run("data", "convert", path, tmp_path / "part.json", "--split", "0.7") == 0
    parts = [content_of(tmp_path / f"part_{part}.json")[0] for part in ("train", "val")]
    files = [{image["file_name"] for image in part["images"]} for part in parts]
    assert [len(each) for each in files] == [2, 1] and not files[0] & files[1]
    assert sum(len(part["annotations"]) for part in parts) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "labelm"], "`--from` must be a registered name.*Did you mean 'labelme'"),
        (
            ["--to", "via"],
            "`--to` must be a registered name: coco, cvat, label_studio, labelme, masks, tfrecord, voc, yolo",
        ),
        (["--classes", "cow"], "`--classes` takes names of classes: cat, dog, bus. Received: 'cow'"),
        (["--merge", "pet"], "`--merge` needs NEW=A,B, as in vehicle=car,truck. Received: 'pet'"),
        (["--merge", "pet=cow"], "`--merge` takes names of classes"),
        (["--merge", "pet=cat", "--merge", "friend=cat"], "A class can be merged once"),
        (["--split", "80"], "`--split` is the fraction .* such as 0.8. Received: 80"),
        (["--images", "nowhere"], "Expected the folder of the images. Received: 'nowhere'"),
    ],
)
def test_a_wrong_option_is_one_message(words, message, tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    assert run("data", "convert", path, tmp_path / "out.json", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("mask-rcnn: error: ")
    assert re.search(message, error), error
    assert not (tmp_path / "out.json").exists()


def test_nothing_that_exists_is_overwritten(tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    before = path.read_bytes()
    assert run("data", "convert", path, path) == 2
    assert run("data", "convert", path, tmp_path, "--to", "yolo") == 2
    assert "The output must not exist" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["out.xml", "yolo_folder"])
def test_a_coco_json_of_another_suffix_is_refused(name, tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    assert run("data", "convert", path, tmp_path / name) == 2
    error = capsys.readouterr().err
    assert re.search(rf"OUT must end in \.json. Received: '.*{name}'.*, or add --to", error), error
    assert not (tmp_path / name).exists()
    assert run("data", "convert", path, tmp_path / name, "--to", "cvat") == 0


def test_a_split_of_folders_has_both_parts(tmp_path):
    path = samples.write_coco(tmp_path)
    for name in ("yolo", "voc", "labelme", "masks", "cvat"):
        words = ["--to", name, tmp_path / name, "--split", "0.7", "--seed", "1"]
        assert run("data", "convert", path, *words) == 0
    for name in ("yolo", "voc"):
        for part, count in (("train", 2), ("val", 1)):
            out = tmp_path / f"{name}_{part}.json"
            assert run("data", "convert", tmp_path / name, out, "--subset", part) == 0
            assert len(content_of(out)[0]["images"]) == count
    assert len(list((tmp_path / "labelme" / "train").glob("*.json"))) == 2
    assert (tmp_path / "cvat" / "train" / "annotations.xml").is_file()
    assert [path.is_dir() for path in (tmp_path / "masks" / "val").iterdir()].count(True) == 1


def test_a_reader_of_an_imported_file(tmp_path, capsys):
    (tmp_path / "corners_reader.py").write_text(
        "from mask_rcnn.formats.registry import READERS\n"
        "@READERS.register('imported')\n"
        "def read(source):\n"
        "    '''Reads.'''\n"
        "    return {'images': [{'id': 1, 'file_name': 'a', 'height': 2, 'width': 3}],\n"
        "            'categories': [{'id': 1, 'name': 'cup'}], 'annotations': []}\n"
    )
    words = [
        "--import",
        tmp_path / "corners_reader.py",
        "--from",
        "imported",
        tmp_path,
        tmp_path / "out.json",
    ]
    assert run("data", "convert", *words) == 0
    assert "1 images, 0 objects" in capsys.readouterr().out


def test_a_merge_into_a_class_that_exists_keeps_its_keypoints_only_if_all_have_them():
    content = {
        "images": [],
        "categories": [
            {"id": 5, "name": "cat", "keypoints": ["nose"]},
            {"id": 7, "name": "dog"},
            {"id": 9, "name": "bus", "keypoints": ["door"]},
        ],
        "annotations": [
            {"id": 1, "category_id": 5, "keypoints": [1, 1, 2], "num_keypoints": 1},
            {"id": 2, "category_id": 7},
            {"id": 3, "category_id": 9, "keypoints": [2, 2, 2], "num_keypoints": 1},
        ],
    }
    findings = Findings()
    merged = merge_classes(content, {"cat": ["dog"]}, findings)
    assert merged["categories"] == [{"id": 5, "name": "cat"}, content["categories"][2]]
    assert merged["annotations"][0] == {"id": 1, "category_id": 5}
    assert merged["annotations"][2] == content["annotations"][2]
    assert findings.lines() == [
        "keypoints were left out: the merged classes have different keypoints (1: cat)"
    ]
    assert content["annotations"][0]["keypoints"] == [1, 1, 2]
    assert keep_classes(merged, ("cat",), findings)["categories"] == [{"id": 5, "name": "cat"}]


def test_a_split_is_the_same_for_the_same_seed_and_keeps_images_of_a_file_together():
    images = [{"id": id, "file_name": f"{id // 2}.png"} for id in range(40)]
    annotations = [{"id": id, "image_id": id} for id in range(40)]
    content = {"images": images, "annotations": annotations, "categories": []}
    first, again, other = (split_images(content, 0.8, seed) for seed in (0, 0, 1))
    assert first == again != other
    files = [{image["file_name"] for image in part["images"]} for part in first.values()]
    assert [len(each) for each in files] == [16, 4] and not files[0] & files[1]
    for part in first.values():
        assert {each["image_id"] for each in part["annotations"]} == {image["id"] for image in part["images"]}
    with pytest.raises(ValueError, match="at least two images. Received: 1"):
        split_images({**content, "images": images[:2]}, 0.5, 0)
