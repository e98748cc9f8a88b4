import json
from pathlib import Path

from mask_rcnn.data.inspect import dataset_report, format_report
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord
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


def test_a_report_counts_what_is_there():
    report = dataset_report(DATASET)
    assert (report["images"], report["objects"], report["crowds"]) == (2, 3, 1)
    assert report["images_without_objects"] == 1
    assert report["objects_with_keypoints"] == 1
    assert report["objects_per_image"] == {"median": 1.5, "max": 3}
    assert report["objects_per_class"] == {"cup": 3, "car": 0}
    assert report["objects_per_size"] == {"small": 2, "medium": 1, "large": 0}
    assert report["image_sizes"] == {"100x200": 2}


def test_a_report_warns_of_what_looks_wrong():
    assert dataset_report(DATASET)["warnings"] == [
        "image 3 (c.png): cut off",
        "1 objects have class and box of another one in their image (1 images: 1)",
        "1 classes have no object: car",
        "1 objects have no segmentation: only boxes can be trained",
    ]


def test_a_report_warns_of_objects_beyond_the_limit():
    warnings = dataset_report(DATASET, max_instances=2)["warnings"]
    assert any("1 objects of 1 images are ignored in training" in warning for warning in warnings)


def test_every_warning_of_the_reader_is_shown():
    many = Dataset("toys", DATASET.categories, DATASET.images, tuple(f"warning {i}" for i in range(30)))
    assert "warning 29" in format_report(dataset_report(many))


def test_a_report_is_json_and_text():
    report = dataset_report(DATASET)
    assert json.loads(json.dumps(report)) == report
    text = format_report(report)
    assert "toys: 2 images, 3 objects, 1 crowd regions" in text
    assert "4 warnings" in text


def test_a_report_of_a_set_without_any_object():
    report = dataset_report(Dataset("empty", DATASET.categories, DATASET.images[1:]))
    assert report["objects"] == 0
    assert "median 0, at most 0" in format_report(report)
