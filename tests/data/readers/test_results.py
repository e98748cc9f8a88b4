"""Tests of reading results files of this and other systems before they are scored."""

import json

import pytest

from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.data.readers.results import load_results, mask_sizes, read_results
from mask_rcnn.evaluation.coco_evaluation import evaluate_results

RUNS = [33, 2, 6, 2, 6, 2, 29]  # 2 x 3 pixels at y=1, x=4 of 8 x 10
ENTRY = {
    "image_id": 7,
    "category_id": 90,
    "bbox": [4, 1, 3, 2],
    "score": 0.5,
    "segmentation": {"size": [8, 10], "counts": RUNS},
}
TRUTH = {
    "images": [
        {"id": 7, "height": 8, "width": 10, "file_name": "train/a.png"},
        {"id": 8, "height": 8, "width": 10, "file_name": "val/a.png"},
        {"id": 9, "height": 8, "width": 10, "file_name": "b.png"},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 9,
            "category_id": 90,
            "bbox": [4, 1, 3, 2],
            "area": 6,
            "iscrowd": 0,
            "segmentation": {"size": [8, 10], "counts": RUNS},
        }
    ],
}


def read(*entries, **options):
    return read_results(list(entries), read_annotations(TRUTH), **options)


def entry(**changes):
    return {**ENTRY, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 6}, "`image_id` must be in the annotations; .*entry 1 with image_id=6"),
        ({"image_id": None}, "`image_id` .* image_id=None"),
        ({"category_id": 1}, r"`category_id` must .* have \[3, 90\] .*\(1: entry 1 with category_id=1"),
        ({"category_id": [1]}, r"`category_id` .*category_id=\[1\]"),
        ({"score": None}, "`score` .* score=None"),
        ({"score": float("nan")}, "`score` .* score=nan"),
        ({"score": True}, "`score` .* score=True"),
        ({"bbox": [1, 2, 3]}, r"`bbox` .* Received: entry 1 with bbox=\[1, 2, 3\]"),
        ({"bbox": [1, 2, -3, 4]}, "`bbox` .* Received: entry 1"),
        ({"bbox": [1, 2, "three", 4]}, "`bbox` .* Received: entry 1"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "must be a run-length object"),
        (
            {"segmentation": {"size": [10, 8], "counts": RUNS}},
            "This is .width, height.; COCO has .height, width",
        ),
        ({"segmentation": {"size": [8, 10], "counts": [0, 81]}}, "sum to the pixels of the image, 80"),
        ({"segmentation": {"size": [8, 10], "counts": [90, -10]}}, "a sum of 80, some of them negative"),
        ({"segmentation": {"size": [8, 10], "counts": "\x00é"}}, "counts that are damaged"),
        ({"segmentation": {"size": [8, 10], "counts": 5}}, "needs `counts`"),
        ({"keypoints": [1, 2, 3, 4]}, "flat list x, y, score. Received: entry 1 with keypoints="),
        ({"keypoints": [[1, 2, 3]]}, "flat list x, y, score"),
        ({"keypoints": [1, 2, float("inf")]}, "flat list x, y, score"),
        ({"bbox": None, "segmentation": None}, "needs a `bbox`, a `segmentation` or `keypoints` .1: entry 1"),
    ],
)
def test_a_bad_entry_is_named(changes, message):
    with pytest.raises(ValueError, match=f"(?s)the given content.*{message}"):
        read(ENTRY, entry(**changes))


def test_all_bad_entries_are_named_at_once():
    with pytest.raises(ValueError) as error:
        read(*(entry(image_id=id) for id in (7, 1, 2)), "car", entry(score="high"))
    for part in ("(2: entry 1 with image_id=1, entry 2 with image_id=2)", "entry 3, 'car'", "score='high'"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"image_id": "7", "category_id": 90.0}, "ids were text or floats"),
        ({"category_id": 1, "category_name": "toothbrush"}, None),
        ({"score": "0.5"}, "`score` was text"),
        ({"bbox": ["4", "1", "3", "2"]}, "`bbox` had numbers as text"),
        ({"segmentation": {"size": ["8", "10"], "counts": list(map(float, RUNS))}}, "run lengths were text"),
    ],
)
def test_an_entry_of_another_tool_is_repaired_and_reported(changes, warning):
    plain, repaired = read(ENTRY), read(entry(**changes))
    assert repaired.entries == plain.entries
    assert [warning in line for line in repaired.warnings] == ([True] if warning else [])


def test_null_means_that_a_field_is_missing():
    assert "segmentation" not in read(entry(segmentation=None, keypoints=None)).entries[0]


def test_categories_that_only_the_results_have_can_be_left_out():
    results = read(ENTRY, entry(category_id=4), shared_classes=True)
    assert len(results.entries) == 1
    assert "the annotations do not have were left out (1: category_id=4)" in results.warnings[0]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("b.png", 9),
        ("photos/b.png", 9),
        ("/home/me/photos/b.png", 9),
        ("C:\\photos\\B.PNG", 9),
        ("photos/val/a.png", 8),
        ("val\\a.png", 8),
        ("../train/a.png", 7),
    ],
)
def test_an_entry_with_a_file_name_belongs_to_the_image_of_that_name(name, image_id):
    for number in (1, 7, 8):
        assert read(entry(image_id=number, file_name=name)).entries[0]["image_id"] == image_id


def test_a_file_name_that_could_be_several_images_is_refused():
    with pytest.raises(ValueError, match=r"'a.png', which could be image 7, 8"):
        read(entry(file_name="a.png"))
    two_files = r"image 9, which could be 'x/b.png' \(image_id=7\), 'y/b.png' \(image_id=7\)"
    with pytest.raises(ValueError, match=two_files):
        read(entry(file_name="x/b.png"), entry(file_name="y/b.png"))
    # `detect x y` names both files relative to their folders.
    with pytest.raises(ValueError, match=r"'b.png' \(image_id=1\), 'b.png' \(image_id=2\)"):
        read(entry(file_name="b.png", image_id=1), entry(file_name="b.png", image_id=2))


def test_the_same_name_goes_before_one_that_ends_in_the_same_way():
    images = [
        {**TRUTH["images"][0], "file_name": name, "id": id} for id, name in ((7, "x/b.png"), (9, "b.png"))
    ]
    content = read_annotations({**TRUTH, "images": images})
    assert read_results([entry(file_name="b.png")], content).entries[0]["image_id"] == 9


def test_files_without_annotations_are_left_out_with_a_count():
    results = read(*(entry(file_name=name) for name in ("b.png", "c.png", "d.png", "d.png")))
    assert len(results.entries) == 1
    assert "left out with their detections (2: 'c.png', 'd.png')" in results.warnings[0]
    with pytest.raises(ValueError, match="must be one of the annotations, such as 'train/a.png'"):
        read(entry(file_name="c.png"))


def test_the_numbers_of_detect_do_not_matter():
    # `detect` numbers its files from 1, and image 9 is its first file.
    found = [entry(image_id=1, file_name="photos/b.png")]
    assert evaluate_results(found, TRUTH)["segm"]["AP"] == pytest.approx(1)


def test_an_entry_with_a_category_name_belongs_to_the_category_of_that_name():
    assert read(entry(category_id=3, category_name="toothbrush")).entries[0]["category_id"] == 90
    with pytest.raises(ValueError, match=r"`category_name` must .*'toothbrush'.* category_name='bus'"):
        read(entry(category_id=3, category_name="bus"))


def test_file_names_in_a_part_of_the_entries_are_refused():
    with pytest.raises(ValueError, match="entry 1 with one, entry 0 without"):
        read(ENTRY, entry(file_name="b.png"))


def test_annotations_without_file_names_are_matched_by_their_ids():
    nameless = [{**image, "file_name": None} for image in TRUTH["images"]]
    content = read_annotations({**TRUTH, "images": nameless})
    results = read_results([entry(image_id=9, file_name="b.png")], content)
    assert results.entries[0]["image_id"] == 9
    assert "matched by `image_id`" in results.warnings[0]


def test_entries_of_an_image_that_cannot_be_used_are_left_out():
    broken = {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 0, 0]}
    content = read_annotations({**TRUTH, "annotations": [*TRUTH["annotations"], broken]}, max_bad_images=0.5)
    results = read_results([ENTRY], content)
    assert results.entries == ()
    assert "images that cannot be used were left out (1: entry 0)" in results.warnings[0]


def test_sizes_come_from_the_masks_if_the_ids_are_those_of_images():
    assert mask_sizes([ENTRY, entry(image_id=9, segmentation=None), 3]) == {7: (8, 10)}
    assert mask_sizes([entry(file_name="b.png")]) == {}


def test_a_file_that_is_no_results_file_is_named(tmp_path):
    path = tmp_path / "half.json"
    for text, message in (("[1, 2", "ends too early"), ("", "which is empty"), ("{}", "with an object")):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"half\.json.*{message}"):
            load_results(path)
    path.write_text(json.dumps([ENTRY]))
    assert load_results(path) == ([ENTRY], str(path), [])
    with pytest.raises(ValueError, match="not one with the ground truth"):
        load_results(TRUTH)
