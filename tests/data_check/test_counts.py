import dataclasses
import json
from pathlib import Path

from mask_rcnn.config import Config, InputConfig
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord
from mask_rcnn.data_check.check import check_dataset
from mask_rcnn.data_check.text_report import format_report
from mask_rcnn.structures import Category

SQUARE = [[0, 0, 10, 0, 10, 10, 0, 10]]
DATASET = Dataset(
    "toys",
    (Category(1, "cup"), Category(2, "car")),
    (
        ImageRecord(
            1,
            Path("a.png"),
            100,
            200,
            (
                Annotation(1, 1, (0.0, 0.0, 10.0, 10.0), 100.0, segmentation=SQUARE),
                Annotation(2, 1, (0.0, 0.0, 10.0, 10.0), 100.0, segmentation=SQUARE),
                Annotation(3, 1, (0.0, 0.0, 50.0, 50.0), 2500.0, keypoints=((7, 9, 2), (0, 0, 0))),
                Annotation(4, 2, (0.0, 0.0, 90.0, 90.0), 8100.0, crowd=True, segmentation=SQUARE),
            ),
        ),
        ImageRecord(2, Path("b.png"), 100, 200),
    ),
    warnings=("image 3 (c.png): cut off",),
)


def check(dataset, **input_fields):
    return check_dataset(dataset, Config(input=InputConfig(**input_fields)), decode=False)


def found(report):
    return {finding.kind: finding for finding in report.findings}


def test_a_report_counts_what_is_there():
    counts = check(DATASET).sets["train"]
    assert (counts["images"], counts["objects"], counts["crowds"]) == (2, 3, 1)
    assert counts["images_without_objects"] == 1
    assert counts["objects_with_keypoints"] == 1
    assert counts["objects_per_image"] == {"median": 1.5, "max": 3}
    assert counts["objects_per_class"] == {"cup": 3, "car": 0}
    assert counts["images_per_class"] == {"cup": 1, "car": 0}
    assert counts["objects_per_size"] == {"small": 2, "medium": 1, "large": 0}
    assert counts["image_sizes"] == {"100x200": 2}


def test_a_report_warns_of_what_looks_wrong():
    findings = found(check(DATASET))
    assert [example.text for example in findings["reader_warnings"].examples] == ["image 3 (c.png): cut off"]
    repeated = findings["duplicate_objects"]
    assert (repeated.count, repeated.examples[0].annotation) == (1, 2)
    assert [example.text for example in findings["empty_classes"].examples] == ["car"]
    assert (findings["without_mask"].count, findings["without_mask"].examples[0].annotation) == (1, 3)


def test_a_report_warns_of_objects_beyond_the_limit():
    ignored = found(check(DATASET, max_instances=2))["too_many_objects"]
    assert (ignored.count, ignored.examples[0].sentence()) == (1, "a.png: 3 objects")
    assert "--set input.max_instances=3" in ignored.advice


def test_every_warning_of_the_reader_is_shown():
    many = dataclasses.replace(DATASET, warnings=tuple(f"warning {i}" for i in range(30)))
    assert "warning 29" in format_report(check(many))


def test_a_report_is_json_and_text():
    report = check(DATASET)
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()
    text = format_report(report)
    assert "train: toys" in text
    assert "objects per image           median 1.5, at most 3" in text


def test_a_report_of_a_set_without_any_object():
    report = check(Dataset("empty", DATASET.categories, DATASET.images[1:]))
    assert report.sets["train"]["objects"] == 0
    assert found(report)["no_objects"].severity == "error"
    assert "median 0, at most 0" in format_report(report)


def test_a_report_of_a_set_without_any_image():
    report = check(Dataset("empty", DATASET.categories, ()))
    assert report.sets["train"]["images"] == 0
    assert "median 0, at most 0" in format_report(report)
