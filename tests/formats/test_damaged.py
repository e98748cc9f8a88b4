"""Tests that invalid and hostile files of each format give one ValueError or OSError that names the file."""

import random
import re

import numpy as np
import pytest
from format_samples import SAMPLES, write_sample
from PIL import Image

from mask_rcnn.formats.conversion import read


def read_sample(sample, path, images, **options):
    return read(SAMPLES[sample][0], path, images, **options)


def annotation_files(path):
    """Returns the files of a sample that are not images."""
    found = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    return [each for each in found if not re.search(r"JPEGImages|photos|images/|data\.yaml", str(each))]


def mutated(data, rng):
    """Returns bytes with a random damage: truncated, changed, a piece repeated, or a number replaced."""
    kind = rng.randrange(5)
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:end] + data[at:]
    if kind == 3:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(changed)
    values = [
        b"null",
        b"-1",
        b"1e999",
        b"99999999999999999999",
        b'"x"',
        b"[]",
        b"{}",
        b"true",
        b"nan",
        b"0.5",
    ]
    places = [*re.finditer(rb"-?\d+(\.\d+)?|\"[^\"]*\"|\[\]", data)]
    place = rng.choice(places) if places else re.match(b"", data)
    return data[: place.start()] + rng.choice(values) + data[place.end() :]


def damage(sample, tmp_path, count):
    """Reads a sample `count` times with different random damages, and checks the exceptions."""
    path = write_sample(sample, tmp_path)
    rng, refused = random.Random(sample), 0
    files = (
        annotation_files(path) if sample != "yolo" else [path, *sorted((tmp_path / "labels").rglob("*.txt"))]
    )
    files = [file for file in files if file.stat().st_size]
    for _ in range(count):
        file = rng.choice(files)
        data = file.read_bytes()
        file.write_bytes(mutated(data, rng))
        try:
            content = read_sample(sample, path, tmp_path)
            assert all(min(each["bbox"][2:]) > 0 for each in content["annotations"])
        except (ValueError, OSError) as error:
            refused += 1
            assert str(tmp_path) in str(error)
            assert type(error) in (ValueError, FileNotFoundError, OSError)
        finally:
            file.write_bytes(data)
    assert refused > count / 5


@pytest.mark.parametrize("sample", SAMPLES)
def test_some_damaged_files_are_read_or_refused_by_name(sample, tmp_path):
    damage(sample, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES)
def test_many_damaged_files_are_read_or_refused_by_name(sample, tmp_path):
    damage(sample, tmp_path, 500)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
EXTERNAL = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
# (sample, file, old text, new text, part of the message)
EDITS = [
    ("coco", "instances.json", '"images"', '"pictures"', "without a list `images`"),
    ("lvis", "instances.json", '"category_id": 3', '"category_id": 4', "`category_id` must be declared"),
    (
        "labelme",
        "json/a.json",
        '"imagePath"',
        '"path"',
        "`imagePath` of .*a.json to be text. Received: no such key",
    ),
    (
        "labelme",
        "json/a.json",
        "[[5, 5], [25, 5], [25, 15], [15, 15], [15, 30],",
        "[[5, 5],",
        "least three points in shapes",
    ),
    (
        "labelme",
        "json/a.json",
        "[25, 15]",
        '[25, "wide"]',
        r"points \[x, y\] of finite numbers in shapes\[0\] of",
    ),
    (
        "labelme",
        "json/a.json",
        "[25, 15]",
        "[25, NaN]",
        r"points \[x, y\] of finite numbers in shapes\[0\] of",
    ),
    ("labelme", "json/a.json", "photos\\\\a.png", "photos\\\\d.png", "d.png', which was not found"),
    ("labelme", "json/a.json", '"imageHeight": 60', '"imageHeight": 61', "height=61, width=90 in .*a.json"),
    (
        "labelme",
        "json/a.json",
        '"group_id": 4',
        '"group_id": "x"',
        "`group_id` of shapes.1. .* a whole number",
    ),
    (
        "labelme",
        "json/a.json",
        "[[5, 35], [34, 56]]",
        "[[5, 35], [36, 56]]",
        "PNG file of height=22, width=32",
    ),
    ("yolo", "labels/train/a.txt", "0 0.05", "3 0.05", "class number from 0 to 2 in line 1 of .*a.txt"),
    ("yolo", "labels/train/a.txt", "1 0.3", "1 30.3", "in fractions of the image size.* line 2 of .*a.txt"),
    ("yolo", "labels/train/a.txt", "2 0.5", "2 half", "line 4 of .*a.txt with"),
    ("yolo", "labels/train/a.txt", "0 0.055556 0.083333", "0 0.05", "line 1 of .*a.txt with 12 words"),
    ("yolo", "data.yaml", "2: bus", "3: bus", "names.2. of .*data.yaml to be text"),
    ("yolo", "data.yaml", "names:", "names: [", "Expected YAML. Received: .*data.yaml"),
    ("voc", "Annotations/a.xml", "<bndbox>", "<box>", "not complete XML .*line 1"),
    ("voc", "Annotations/a.xml", "<name>cat</name>", "", "the class of object 1 of .*a.xml"),
    ("voc", "Annotations/a.xml", "<xmin>6</xmin>", "<xmin>six</xmin>", "`xmin` of object 1 of .*a.xml"),
    ("voc", "Annotations/a.xml", "<annotation>", f"{BOMB}<annotation>", "a.xml', which has a document type"),
    (
        "via",
        "via_project.json",
        '"shape_attributes"',
        '"shape"',
        "`shape_attributes` of regions.0. of image 'a.png'",
    ),
    (
        "via",
        "via_project.json",
        '"all_points_y": [5, 5, ',
        '"all_points_y": [5, ',
        "as many numbers in `all_points_x`",
    ),
    (
        "via",
        "via_project.json",
        '{"animal": "cat"}',
        '{"animal": 4}',
        "a class in the attribute 'animal' of regions",
    ),
    ("via", "via_project.json", '{"animal": "cat"}', '{"hue": 4}', "Choose one with `--class-attribute`"),
    (
        "cvat",
        "annotations.xml",
        "<annotations>",
        f"{EXTERNAL}<annotations>",
        "annotations.xml', which has a document",
    ),
    (
        "cvat",
        "annotations.xml",
        "<annotations>",
        f"{BOMB}<annotations>",
        "annotations.xml', which has a document",
    ),
    (
        "cvat",
        "annotations.xml",
        '<polygon label="cat"',
        '<polygon label="cow"',
        "'cow' in <polygon> 1 of image 'a.png'",
    ),
    (
        "cvat",
        "annotations.xml",
        'points="5.00,5.00;25.00',
        'points="5.00;25.00',
        "in <polygon> 1 of image 'a.png' of",
    ),
    (
        "cvat",
        "annotations.xml",
        'width="30" height="22"',
        'width="30" height="23"',
        "sum to width . height = 690",
    ),
    ("cvat", "annotations.xml", 'left="5"', 'left="80"', "a mask inside the image of height=60, width=90"),
    (
        "label_studio",
        "project.json",
        '"rle": [0, 0, 84',
        '"rle": [0, 1, 84',
        "rle. of Label Studio's brush in result",
    ),
    (
        "label_studio",
        "project.json",
        '"annotations"',
        '"completions"',
        "`annotations` of .0. of .*no such key",
    ),
    (
        "label_studio",
        "project.json",
        "1f0e5a77-a.png",
        "1f0e5a77-d.png",
        "'/data/upload/3/1f0e5a77-d.png', which was not found",
    ),
    (
        "cityscapes_polygons",
        "gtFine/train/ulm/a_gtFine_polygons.json",
        '"imgHeight"',
        '"h"',
        "`imgHeight` of .*a_gt",
    ),
    (
        "cityscapes_polygons",
        "gtFine/train/ulm/a_gtFine_polygons.json",
        "[0, 0], [89, 0], ",
        "",
        "objects.0. of .*a_gt",
    ),
]


@pytest.mark.parametrize(("sample", "name", "old", "new", "message"), EDITS)
def test_a_malformed_file_is_one_error_that_says_where(sample, name, old, new, message, tmp_path):
    path = write_sample(sample, tmp_path)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises((ValueError, OSError), match=message) as raised:
        read_sample(sample, path, tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    "sample",
    [name for name in SAMPLES if SAMPLES[name][0] not in ("masks", "yolo") and name != "cityscapes_ids"],
)
def test_a_file_that_was_cut_off_is_refused(sample, tmp_path):
    path = write_sample(sample, tmp_path)
    file = next(each for each in annotation_files(path) if each.suffix in (".json", ".xml"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=re.escape(str(file))):
        read_sample(sample, path, tmp_path)


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("voc", "SegmentationObject/a.png"),
        ("masks", "masks/a/0_cat.png"),
        ("cityscapes_ids", "gtFine/train/ulm/a_gtFine_instanceIds.png"),
    ],
)
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((60, 90, 3), "uint8"), "one channel.*of mode RGB"),
        (np.zeros((60, 91), "uint8"), "height=60, width=90, the size of .*height=60, width=91"),
    ],
)
def test_a_mask_of_another_mode_or_size_is_refused(sample, name, pixels, message, tmp_path):
    path = write_sample(sample, tmp_path)
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(ValueError, match=message) as raised:
        read_sample(sample, path, tmp_path)
    assert str(tmp_path / name) in str(raised.value)


def test_all_bad_files_are_named_at_once_or_left_out(tmp_path):
    path = write_sample("labelme", tmp_path)
    (path / "a.json").write_text("{")
    (path / "c.json").write_text("[]")
    with pytest.raises(ValueError, match="2 of 3 images cannot be read") as raised:
        read_sample("labelme", path, tmp_path)
    assert "a.json" in str(raised.value) and "c.json" in str(raised.value)
    assert len(read_sample("labelme", path, tmp_path, skip_errors=True)["images"]) == 1


def test_text_that_is_not_in_utf_8_is_refused_and_such_a_json_is_noted(tmp_path):
    for name in ("yolo", "via"):
        (tmp_path / name).mkdir()
    path = write_sample("yolo", tmp_path / "yolo")
    path.write_bytes(path.read_bytes().replace(b"bus", b"b\xfcs"))
    with pytest.raises(ValueError, match="data.yaml, which is not in UTF-8"):
        read_sample("yolo", path, tmp_path / "yolo")
    path, notes = write_sample("via", tmp_path / "via"), []
    path.write_bytes(path.read_bytes().replace(b"bus", b"b\xfcs"))
    content = read_sample("via", path, tmp_path / "via", notes=notes)
    assert {category["name"] for category in content["categories"]} == {"büs", "cat", "dog"}
    assert any("it is read as Latin-1" in note for note in notes)
