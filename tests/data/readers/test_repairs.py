"""Tests of COCO files from other tools: repaired with a warning, or refused with all entries named."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.data.segmentations import pixel_area
from mask_rcnn.evaluation.coco_evaluation import evaluate_results

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]
RUNS = {"size": [10, 20], "counts": [21, 3, 7, 3, 7, 3, 7, 3, 146]}  # the same pixels
CONTENT = {
    "images": [{"id": id, "file_name": f"{id}.png", "height": 10, "width": 20} for id in (1, 2)],
    "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "cup"}],
    "annotations": [
        {
            "id": id,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [2, 1, 4, 3],
            "area": 12,
            "iscrowd": 0,
            "segmentation": [SQUARE],
        }
        for id, image_id, category_id in ((1, 1, 3), (2, 2, 5))
    ],
}
FOUND = [
    {
        "image_id": one["image_id"],
        "category_id": one["category_id"],
        "bbox": one["bbox"],
        "score": 0.9,
        "segmentation": RUNS,
    }
    for one in CONTENT["annotations"]
]


def changed(part, **fields):
    """Returns a copy of `CONTENT` with other fields in the first entry of a list. `...` removes a field."""
    content = copy.deepcopy(CONTENT)
    content[part][0].update(fields)
    for name in [name for name, value in fields.items() if value is ...]:
        del content[part][0][name]
    return content


@pytest.fixture
def folder(tmp_path):
    for name in ("1.png", "2.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def read(folder):
    """A function that reads content, or bytes, with both readers, which must agree."""

    def write_and_read(content, max_bad_images=0.01):
        path = folder / "instances.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        dataset = read_coco(path, folder, max_bad_images=max_bad_images)
        assert read_annotations(path, max_bad_images=max_bad_images).warnings == dataset.warnings
        return dataset

    return write_and_read


def repaired_annotation(**fields):
    return changed("annotations", **fields)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (repaired_annotation(area=None), "`area` was missing"),
        (repaired_annotation(area=...), "`area` was missing"),
        (repaired_annotation(area=0), "`area` was missing or not positive"),
        (repaired_annotation(area="12.0"), "`area` was text"),
        (repaired_annotation(iscrowd=None), "`iscrowd` was missing"),
        (repaired_annotation(iscrowd=...), "`iscrowd` was missing"),
        (repaired_annotation(iscrowd="0"), "`iscrowd` was not a whole number"),
        (repaired_annotation(iscrowd=False), "`iscrowd` was not a whole number"),
        (repaired_annotation(iscrowd=0.0), "`iscrowd` was not a whole number"),
        (repaired_annotation(bbox=None), "`bbox` was missing"),
        (repaired_annotation(bbox=...), "`bbox` was missing"),
        (repaired_annotation(bbox=[]), "`bbox` was missing"),
        (repaired_annotation(bbox=[2, 1, 0, 0]), "`bbox` was missing or empty"),
        (repaired_annotation(bbox=["2", "1", "4.0", "3e0"]), "`bbox` had numbers as text"),
        (repaired_annotation(segmentation=SQUARE), "without the outer list"),
        (repaired_annotation(segmentation=[[2, 1], [6, 1], [6, 4], [2, 4]]), "pairs [x, y]"),
        (repaired_annotation(segmentation=[[[2, 1], [6, 1], [6, 4], [2, 4]]]), "pairs [x, y]"),
        (repaired_annotation(segmentation=[list(map(str, SQUARE))]), "coordinates of a polygon were text"),
        (repaired_annotation(segmentation=[SQUARE, []]), "fewer than three points or without area"),
        (repaired_annotation(segmentation=[[2, 1, 6, 4], SQUARE]), "fewer than three points or without area"),
        (repaired_annotation(segmentation=[[2, 1, 4, 1, 6, 1], SQUARE]), "fewer than three points or with"),
        (repaired_annotation(id="one"), "no whole number as `id`"),
        (repaired_annotation(id=...), "no whole number as `id`"),
        (repaired_annotation(id=2), "an annotation had the `id` of another"),
        (repaired_annotation(id=0), "ids of annotations start at 0"),
        (repaired_annotation(id="1", image_id="1", category_id=3.0), "ids were text or floats"),
        (changed("images", id="1"), "ids were text or floats"),
        (changed("images", height=..., width=None), "`height` or `width` was missing"),
        (changed("images", height="10", width=20.0), "`height` was text or a float"),
        (changed("categories", id="3"), "ids were text or floats"),
    ],
)
def test_what_other_tools_write_is_the_same_object(folder, content, warning):
    (folder / "instances.json").write_text(json.dumps(content))
    dataset = read_coco(folder / "instances.json", folder)
    one = dataset.images[0].annotations[0]
    assert (one.class_id, one.box, one.area, one.crowd) == (1, (1, 2, 4, 6), 12, False)
    assert pixel_area(one.segmentation, (10, 20)) == 12
    assert [line for line in dataset.warnings if warning and warning in line] == list(dataset.warnings)[:1]
    assert bool(dataset.warnings) == bool(warning)
    metrics = evaluate_results(FOUND, content)
    assert metrics["bbox"]["AP"] == metrics["segm"]["AP"] == pytest.approx(1)
    assert bool(metrics.warnings) == bool(warning)


@pytest.mark.parametrize("segmentation", [[[]], [[2, 1, 6, 4]], {"size": [10, 20], "counts": [200]}])
def test_an_object_without_a_usable_mask_stays_as_a_box(read, segmentation):
    content = repaired_annotation(segmentation=segmentation)
    dataset = read(content)
    assert dataset.images[0].annotations[0].segmentation is None
    assert "the object has a box but no mask (1: annotation 1)" in dataset.warnings[-1]
    # In the evaluation of masks it is ignored: neither missed nor a false positive.
    for found in (FOUND, FOUND[1:]):
        assert evaluate_results(found, content)["segm"]["AP"] == pytest.approx(1)


@pytest.mark.parametrize("segmentation", [None, [], {}])
def test_an_object_may_have_no_mask_at_all(read, segmentation):
    assert read(repaired_annotation(segmentation=segmentation)).warnings == ()


def test_a_figure_of_eight_is_no_empty_polygon(read):
    dataset = read(repaired_annotation(segmentation=[[2, 1, 6, 4, 6, 1, 2, 4]]))
    assert dataset.images[0].annotations[0].segmentation and dataset.warnings == ()


def test_a_box_that_leaves_the_image_is_clipped_and_reported(read):
    dataset = read(repaired_annotation(bbox=[-3, 1, 9, 3], segmentation=None))
    assert dataset.images[0].annotations[0].box == (1, 0, 4, 6)
    assert "reached out of the image" in dataset.warnings[0]


def test_annotations_of_undeclared_images_are_left_out(read):
    content = copy.deepcopy(CONTENT)
    content["annotations"] += [{**content["annotations"][0], "id": id, "image_id": 77} for id in (8, 9)]
    dataset = read(content)
    assert sum(len(image.annotations) for image in dataset.images) == 2
    assert "were left out (2: annotation 8 of image 77, annotation 9 of image 77)" in dataset.warnings[0]


def test_an_object_that_is_listed_twice_stays_and_is_reported(read):
    content = copy.deepcopy(CONTENT)
    content["annotations"].append({**content["annotations"][0], "id": 9})
    dataset = read(content)
    assert len(dataset.images[0].annotations) == 2
    assert "repeats another one of its image" in dataset.warnings[0]


def test_an_image_that_is_listed_twice_counts_once(read):
    content = copy.deepcopy(CONTENT)
    content["images"].append(content["images"][0])
    dataset = read(content)
    assert len(dataset) == 2 and "listed twice" in dataset.warnings[0]


def test_image_ids_may_be_text(read):
    content = copy.deepcopy(CONTENT)
    for part, field in (("images", "id"), ("annotations", "image_id")):
        for entry in content[part]:
            entry[field] = f"scan-{entry[field]}"
    assert [image.id for image in read(content).images] == ["scan-1", "scan-2"]
    found = [{**entry, "image_id": f"scan-{entry['image_id']}"} for entry in FOUND]
    assert evaluate_results(found, content)["segm"]["AP"] == pytest.approx(1)


def test_an_unused_category_with_the_name_of_another_is_left_out(read):
    content = copy.deepcopy(CONTENT)
    content["categories"].append({"id": 1, "name": "cup"})
    dataset = read(content)
    assert [(category.id, category.name) for category in dataset.categories] == [(3, "car"), (5, "cup")]
    assert dataset.warnings == (
        "a category without objects had the name of another: it was left out (1: 'cup' of id 1; id 5 stays)",
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("photos\\1.png", "photos/1.png"),
        ("/home/other/photos/1.png", "photos/1.png"),
        ("D:\\data\\photos\\1.png", "photos/1.png"),
        ("photos/1.png", "1.png"),
        ("1.png", "photos/1.png"),
        ("my%20photo.png", "my photo.png"),
        ("1.PNG", "1.png"),
        ("e\u0301.png", "\u00e9.png"),
    ],
)
def test_file_names_of_other_systems_are_found_and_reported(tmp_path, name, file):
    path = tmp_path / "images" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "2.png")
    (tmp_path / "a.json").write_text(json.dumps(changed("images", file_name=name)))
    dataset = read_coco(tmp_path / "a.json", tmp_path / "images")
    assert dataset.images[0].path == path
    assert "found under another name" in dataset.warnings[0]


def test_a_file_name_that_could_be_two_files_is_refused(tmp_path):
    for name in ("a/1.png", "b/1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    with pytest.raises(ValueError, match=r"must name one file \(1: '1.png', which 2 files could be"):
        read_coco(tmp_path / "a.json", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_of_unicode_is_read(read, encoding):
    content = changed("categories", name="größe")
    dataset = read(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert dataset.categories[0].name == "größe" and dataset.warnings == ()


def test_latin_1_is_read_and_reported(read):
    dataset = read(json.dumps(changed("categories", name="größe"), ensure_ascii=False).encode("latin-1"))
    assert dataset.categories[0].name == "größe"
    assert "is read as Latin-1" in dataset.warnings[0]


def two(part, **fields):
    content = copy.deepcopy(CONTENT)
    for entry in content[part]:
        entry.update(fields)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (two("categories", name="cup"), "`name` of a category must be unique .1: 'cup' of ids 3, 5"),
        (two("categories", id=3), "`id` of a category must be unique"),
        (two("categories", name=None), r"`name`, text .2: categories\[0\], id=3, name=None, categories\[1\]"),
        (two("categories", name="\ud800"), "`name`, text .2"),
        (two("images", id=1), r"`id` of an image must be unique .1: images\[1\] with id=1"),
        (two("images", id=None), "`id` of an image must be a whole number or text .2"),
        (two("images", id=True), "`id` of an image must be a whole number or text .2"),
        (two("images", file_name=None), "`file_name` of an image must be text .2"),
        (two("images", height=True), "`height` of an image must be a whole number of pixels .2"),
        (two("images", width=20.5), "`width` of an image must be a whole number of pixels .2"),
        (two("images", width=10**12), "must have at most 4294967295 pixels .2"),
        (two("annotations", category_id=77), "declared in `categories` .2: annotation 1 with category_id=77"),
        (two("annotations", category_id=True), "declared in `categories` .2"),
        (two("annotations", image_id=None), "`image_id` must be the id of an image .2"),
        (two("annotations", iscrowd=2), "`iscrowd` must be 0 or 1 .2: annotation 1 with iscrowd=2, annot"),
        (two("annotations", iscrowd="maybe"), "`iscrowd` must be 0 or 1 .2"),
        (two("annotations", area=float("nan")), "`area` must be a finite number .2"),
        (two("annotations", area=True), "`area` must be a finite number .2"),
        (two("annotations", area="large"), "`area` must be a finite number .2"),
        (two("annotations", bbox=[2, 1, float("inf"), 3]), "2 of 2:.*`bbox` must be .*annotation 2"),
        (two("annotations", bbox=[True, 1, 4, 3]), "2 of 2:.*`bbox` must be .*annotation 2"),
        (two("annotations", segmentation=[[1, 2, 6, 1, 6, 4, 2, None]]), "2 of 2:.*A polygon is a list"),
        (two("annotations", segmentation=[[1, 2, 6, 1, 6, 4, 2, True]]), "2 of 2:.*A polygon is a list"),
        (two("annotations", segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]), "must lie in its image"),
        (two("annotations", segmentation={**RUNS, "size": [20, 10]}), "2 of 2:.*This is .width, height"),
        (two("annotations", segmentation={**RUNS, "counts": [200, 1]}), "2 of 2:.*with a sum of 201"),
        (two("annotations", segmentation={**RUNS, "counts": "zz zz"}), "2 of 2:.*counts that are damaged"),
        (two("annotations", segmentation={**RUNS, "counts": [10**30]}), "counts that are not whole numbers"),
    ],
)
def test_what_has_no_clear_meaning_is_refused_and_all_entries_are_named(read, content, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read(content)


def test_polygons_with_y_first_are_recognized(read):
    content = two("annotations", bbox=[12, 2, 6, 3], segmentation=[[2, 12, 5, 12, 5, 18, 2, 18]])
    with pytest.raises(ValueError, match="(?s)2 of 2:.*fits only with y first. Convert the masks"):
        read(content)


def test_run_lengths_along_the_rows_are_recognized():
    mask = np.zeros((100, 200), bool)
    mask[10:40, 20:60] = True
    edges = np.flatnonzero(np.diff(mask.ravel().astype(int))) + 1
    counts = np.diff([0, *edges, mask.size]).tolist()
    masked = {"bbox": [20, 10, 40, 30], "segmentation": {"size": [100, 200], "counts": counts}}
    content = two("annotations", **masked)
    for image in content["images"]:
        image |= {"height": 100, "width": 200}
    with pytest.raises(ValueError, match="(?s)2 of 2:.*fits only with run lengths along the rows"):
        read_annotations(content)


def test_boxes_with_two_corners_are_recognized(read):
    square = [12, 2, 18, 2, 18, 8, 12, 8]
    content = two("annotations", bbox=[12, 2, 18, 8], segmentation=[square])
    with pytest.raises(ValueError, match=r"(?s)2 of 2:.*fits the mask only as \[x1, y1, x2, y2\]"):
        read(content)


@pytest.mark.parametrize("segmentation", [[[0.1, 0.1, 0.3, 0.1, 0.3, 0.4, 0.1, 0.4]], None])
def test_fractions_of_the_image_size_are_recognized(read, segmentation):
    content = two("annotations", bbox=[0.1, 0.1, 0.2, 0.3], segmentation=segmentation)
    with pytest.raises(ValueError, match="(?s)2 of 2:.*within the first pixel.*multiply boxes and polygons"):
        read(content)


def test_an_object_of_one_pixel_in_the_corner_is_an_object(read):
    dataset = read(changed("annotations", bbox=[0, 0, 1, 1], segmentation=None))
    assert dataset.images[0].annotations[0].box == (0, 0, 1, 1)


def test_a_box_that_is_not_that_of_the_mask_is_reported(read):
    dataset = read(changed("annotations", bbox=[2, 1, 12, 3]))
    assert "`bbox` is not the box of the mask" in dataset.warnings[0]


def test_a_size_in_the_wrong_order_is_recognized(read):
    with pytest.raises(ValueError, match="(?s)2 of 2:.*Are height and width in the wrong order"):
        read(two("images", height=20, width=10))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "which is empty"),
        (b"\0\0\0", "which is empty"),
        (b"\x89PNG\r\n\x1a\n\0\xff", "which is not text"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"images": [], "images": [1]}', "same key twice with different values: 'images'"),
        (b'{"a": ' + b"9" * 5000 + b"}", "which is not json"),
        (b'{"images": [{"id": 1', "ends too early"),
        (b"nothing", "which is not json"),
    ],
)
def test_a_file_that_is_no_json_is_one_line(read, data, message):
    with pytest.raises(
        ValueError, match=rf"Expected a COCO json\. Received: .*instances\.json', .*{message}"
    ) as error:
        read(data)
    assert "\n" not in str(error.value)


def test_a_path_that_is_no_file_is_one_line(tmp_path):
    with pytest.raises(OSError, match="which is a folder"):
        read_annotations(tmp_path)
    with pytest.raises(OSError, match="which does not exist"):
        read_annotations(tmp_path / "none.json")


def test_the_size_of_a_mask_stands_in_for_that_of_the_image():
    content = two("images", height=None, width=None)
    assert evaluate_results(FOUND, content)["segm"]["AP"] == pytest.approx(1)
    with pytest.raises(ValueError, match="(?s)2 of 2:.*The size of the image is needed"):
        read_annotations(content)


@pytest.mark.parametrize("first_id", [0, 1, 7])
def test_the_score_does_not_depend_on_the_ids_of_the_annotations(first_id):
    # pycocotools treats a match with an annotation of id 0 as no match.
    content = copy.deepcopy(CONTENT)
    for id, one in enumerate(content["annotations"], start=first_id):
        one["id"] = id
    assert evaluate_results(FOUND, content)["segm"]["AP"] == pytest.approx(1)
    for one in content["annotations"]:
        one["id"] = first_id
    assert evaluate_results(FOUND, content)["segm"]["AP"] == pytest.approx(1)


def test_repaired_content_leaves_the_given_one_as_it_is():
    content = repaired_annotation(area=None, bbox=None, segmentation=SQUARE)
    before = json.dumps(content)
    assert read_annotations(content).warnings
    assert json.dumps(content) == before


def test_run_lengths_and_polygons_of_the_same_object_have_the_same_area():
    assert pixel_area([SQUARE], (10, 20)) == pixel_area(RUNS, (10, 20)) == 12
    assert np.sum(RUNS["counts"]) == 200
