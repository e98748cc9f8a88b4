"""Tests of the data set checks: each kind of fault is found where it is, and nowhere else."""

import copy
import json
import re

import pytest
from faulty_coco import FAULTS, photograph, square, write_clean, write_faulty, write_json
from PIL import Image

from mask_rcnn import model_zoo
from mask_rcnn.cli.options import assign
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data_check.check import check_coco, check_dataset
from mask_rcnn.data_check.html_report import write_page
from mask_rcnn.data_check.repair import repair_coco
from mask_rcnn.data_check.text_report import format_report

CONFIG = model_zoo.config("fine_tune")
# Kinds of findings that `--fix` repairs or removes.
FIXED = (
    "cut_off",
    "damaged_inside",
    "no_file",
    "other_size",
    "empty_box",
    "box_elsewhere",
    "box_partly_outside",
    "crossing",
    "box_unlike_mask",
    "area_unlike_mask",
    "repeated",
    "nearly_repeated",
    "ids_as_text",
    "undeclared_image",
)


def check(folder, json_name="instances.json", config=CONFIG, **options):
    return check_coco({"train": (folder / json_name, folder)}, config, "fine_tune", **options)


def kinds(report):
    return {finding.kind for finding in report.findings}


def finding(report, kind):
    return next(each for each in report.findings if each.kind == kind)


def test_nothing_is_found_in_a_clean_data_set(tmp_path):
    write_clean(tmp_path)
    report, _ = check(tmp_path)
    assert report.findings == ()
    assert "0 errors, 0 warnings, 0 notes. Ready to train." in format_report(report)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, tmp_path):
    kind, severity, _ = FAULTS[fault]
    write_faulty(tmp_path, fault)
    report, sets = check(tmp_path)
    found = finding(report, kind)
    assert found.severity == severity
    assert found.count >= 1
    assert found.title in " ".join(format_report(report).split())
    assert json.loads(json.dumps(report.as_dict()))["findings"]
    write_page(tmp_path / "page.html", report, sets, config=CONFIG)
    assert (
        kind in ("unreadable_json", "unclear_entries") or "<h3>train" in (tmp_path / "page.html").read_text()
    )


def test_an_example_names_file_annotation_and_field(tmp_path):
    write_faulty(tmp_path, "box_unlike_mask")
    (example,) = finding(check(tmp_path)[0], "box_and_mask").examples
    assert (example.image, example.annotation, example.field) == ("1.png", 1, "bbox")
    assert example.sentence().startswith("1.png, annotation 1, bbox: the mask is in x 4 to 24")


def test_an_example_of_an_image_that_is_left_out_names_the_annotation(tmp_path):
    write_faulty(tmp_path, "empty_box")
    (example,) = finding(check(tmp_path)[0], "bad_annotation").examples
    assert (example.image, example.annotation, example.field) == ("1.png", 4, "bbox")


@pytest.mark.parametrize("fault", ["cut_off", "damaged_inside"])
def test_images_that_cannot_be_used_are_counted(fault, tmp_path):
    write_faulty(tmp_path, fault)
    assert check(tmp_path)[0].sets["train"]["images_left_out"] == 1


def test_few_bad_images_are_a_warning(tmp_path):
    write_faulty(tmp_path, "cut_off")
    config = assign(CONFIG, ["data.max_bad_images=0.3"])
    found = finding(check(tmp_path, config=config)[0], "bad_image")
    assert found.severity == "warning"
    assert "Training leaves these images out" in found.advice


def test_without_decoding_only_headers_are_read(tmp_path):
    write_faulty(tmp_path, "damaged_inside")
    report, _ = check(tmp_path, decode=False)
    assert report.findings == ()
    assert "not decoded" in format_report(report)


@pytest.mark.parametrize("fault", FIXED)
def test_a_repaired_copy_has_no_such_fault(fault, tmp_path):
    write_faulty(tmp_path, fault)
    before = (tmp_path / "instances.json").read_bytes()
    _, sets = check(tmp_path)
    changes = repair_coco(
        tmp_path / "instances.json", tmp_path, tmp_path / "fixed.json", checked=sets["train"]
    )
    assert changes
    assert (tmp_path / "instances.json").read_bytes() == before
    report, _ = check(tmp_path, "fixed.json")
    assert kinds(report) <= {"rare_classes"}  # removed images leave fewer objects


def test_a_repaired_copy_keeps_what_was_right(tmp_path):
    content = write_clean(tmp_path)
    content["info"] = {"year": 2024}
    content["annotations"][0] |= {"attributes": {"color": "red"}}
    content["annotations"].append({**content["annotations"][0], "id": 1000})
    write_json(tmp_path, content)
    _, sets = check(tmp_path)
    changes = repair_coco(
        tmp_path / "instances.json", tmp_path, tmp_path / "fixed.json", checked=sets["train"]
    )
    assert changes == ["objects that repeat another one were removed (1: annotation 1000)"]
    content["annotations"].pop()
    assert json.loads((tmp_path / "fixed.json").read_text()) == content


def test_a_crossing_polygon_keeps_its_pixels(tmp_path):
    write_faulty(tmp_path, "crossing")
    _, sets = check(tmp_path)
    repair_coco(tmp_path / "instances.json", tmp_path, tmp_path / "fixed.json", checked=sets["train"])
    entry = json.loads((tmp_path / "fixed.json").read_text())["annotations"][7]
    assert set(entry["segmentation"]) == {"size", "counts"}
    assert entry["bbox"] == [30, 4, 20, 20]


def two_splits(folder, change=lambda folder, content: None):
    """Writes two splits and checks them. `change` modifies the second one."""
    write_clean(folder / "train")
    content = write_clean(folder / "val", first_seed=100)
    change(folder, content)
    write_json(folder / "val", content)
    sources = {name: (folder / name / "instances.json", folder / name) for name in ("train", "val")}
    return check_coco(sources, CONFIG, "fine_tune")[0]


def test_two_clean_splits_have_no_finding(tmp_path):
    assert two_splits(tmp_path).findings == ()


@pytest.mark.parametrize("quality", [None, 60])
def test_images_of_both_splits_are_found(quality, tmp_path):
    def change(folder, content):
        image = Image.open(folder / "train" / "2.png")
        path = folder / "val" / "3.png"
        image.save(path, "PNG") if quality is None else image.save(path, "JPEG", quality=quality)

    found = finding(two_splits(tmp_path, change), "shared_images")
    assert (found.count, found.where, found.severity) == (1, "train and val", "warning")
    assert found.examples[0].sentence() == "2.png (train): as 3.png (val)"


def test_classes_of_one_split_are_found(tmp_path):
    def change(folder, content):
        content["categories"][0]["name"] = "mug"

    found = finding(two_splits(tmp_path, change), "one_split_classes")
    assert [example.text for example in found.examples] == ["cup: only in train", "mug: only in val"]


def test_other_photographs_of_the_same_colors_are_not_the_same(tmp_path):
    content = write_clean(tmp_path)
    mirrored = photograph(0)[:, ::-1]
    Image.fromarray(mirrored.copy()).save(tmp_path / "2.png")
    Image.fromarray(photograph(0) // 8 + 100).resize((80, 64)).save(tmp_path / "3.png")
    report, _ = check(tmp_path)
    assert [example.sentence() for example in finding(report, "similar_images").examples] == [
        "1.png: as 3.png"  # darker and paler copies are found, mirrored ones are not
    ]
    assert len(content["images"]) == 4


def test_anchors_that_are_suggested_fit_better(tmp_path):
    content = write_clean(tmp_path)
    content["annotations"] = [
        square(1 + i, 1 + i // 40, i % 5 * 12 + 2, i % 8 * 9 + 3, 2) for i in range(160)
    ]
    write_json(tmp_path, content)
    report, _ = check(tmp_path)
    options = re.findall(r"--set (\S+?)[` ]", finding(report, "anchors").advice)
    better = assign(CONFIG, options)
    assert len(better.anchors.sizes) == len(CONFIG.anchors.sizes)
    assert report.anchors["poor"] > 0.9
    assert check(tmp_path, config=better)[0].anchors["poor"] == report.anchors["suggestion"]["poor"] < 0.1


def test_a_data_set_of_another_reader_is_checked(tmp_path):
    content = write_clean(tmp_path)
    content["annotations"].append({**content["annotations"][0], "id": 1000})
    write_json(tmp_path, content)
    dataset = read_coco(tmp_path / "instances.json", tmp_path)
    records = tuple(
        type(image)(image.id, image.path, image.height, image.width, tuple(image.annotations))
        for image in dataset.images
    )
    plain = type(dataset)(dataset.name, dataset.categories, records)
    assert kinds(check_dataset(plain, CONFIG)) == {"duplicate_objects"}


def test_counts_of_a_data_set(tmp_path):
    content = write_clean(tmp_path)
    content["categories"].append({"id": 7, "name": "car"})
    content["annotations"][0]["iscrowd"] = 1
    write_json(tmp_path, content)
    counts = check(tmp_path)[0].sets["train"]
    assert (counts["images"], counts["objects"], counts["crowds"]) == (4, 23, 1)
    assert counts["objects_per_class"] == {"cup": 23, "car": 0}
    assert counts["images_per_class"] == {"cup": 4, "car": 0}
    assert counts["objects_per_size"] == {"small": 23, "medium": 0, "large": 0}
    assert counts["objects_per_image"] == {"median": 6.0, "max": 6}
    assert counts["image_sizes"] == {"64x80": 4}


def test_names_of_a_file_are_escaped_in_the_page(tmp_path):
    content = write_clean(tmp_path)
    content["categories"][0]["name"] = "<script>alert(1)</script>"
    write_json(tmp_path, copy.deepcopy(content))
    report, sets = check(tmp_path)
    write_page(tmp_path / "page.html", report, sets, config=CONFIG)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
