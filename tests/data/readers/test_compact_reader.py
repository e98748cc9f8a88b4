"""Tests of the compact reader: results equal those of the careful reader, and its cache is validated."""

import dataclasses
import json
import logging
import os
import random
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from damaged_coco import KINDS, damaged_coco, valid_content, write_images
from PIL import Image

from mask_rcnn.data import reader_cache
from mask_rcnn.data.annotation_table import ImageAnnotations, as_floats
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.image_io import checked_files
from mask_rcnn.data.readers import coco_content, coco_scan
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.readers.coco_content import read_annotations

CATEGORIES = [
    {"id": 3, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2]]},
    {"id": 9, "name": "cup"},
]


def generated_content(seed, num_annotations=60):
    """Returns COCO content with ordinary annotations in random order; one in six is irregular."""
    draw = random.Random(seed)
    images = [{"id": id, "file_name": f"{id}.png", "height": 60, "width": 80} for id in range(1, 7)]
    annotations = [_annotation(draw, id) for id in range(1, num_annotations + 1)]
    draw.shuffle(annotations)
    if draw.random() < 0.2:
        annotations[0]["id"] = annotations[1]["id"]
    if draw.random() < 0.2:
        del images[0]["height"]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def _annotation(draw, id):
    x, y, width, height = (round(draw.uniform(1, limit), 2) for limit in (40, 30, 35, 25))
    corners = draw.choice([4, 5, 12])
    angles = np.arange(corners) * 2 * np.pi / corners
    points = np.stack([x + width * (1 + np.cos(angles)) / 2, y + height * (1 + np.sin(angles)) / 2], axis=1)
    one = {
        "id": id,
        "image_id": draw.randint(1, 6),
        "category_id": draw.choice([3, 9]),
        "bbox": [x, y, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "segmentation": [np.round(points, draw.choice([0, 2, 9])).ravel().tolist()] * draw.choice([1, 2]),
    }
    if one["category_id"] == 3:
        one |= {"keypoints": [x, y, 2, 0, 0, 0], "num_keypoints": 1}
    for field, value in draw.choice(CHANGES) if draw.random() < 1 / 6 else ():
        one[field] = value
        if value is ...:
            del one[field]
    return one


CHANGES = (
    (("area", ...),),
    (("area", "12"),),
    (("area", 0),),
    (("iscrowd", None),),
    (("iscrowd", True),),
    (("iscrowd", 1), ("segmentation", {"size": [60, 80], "counts": [100, 50, 4650]})),
    (("segmentation", {"size": [60, 80], "counts": [4800]}),),
    (("segmentation", None),),
    (("segmentation", [[1, 1, 2, 2]]),),
    (("segmentation", [[1, 1, 2, 2, 3, 3]]),),
    (("segmentation", [[1.0, 1.0, 500.0, 2.0, 3.0, 3.0]]),),
    (("segmentation", [[[1], [1], [9], [2], [3], [3]]]),),
    (("segmentation", [[[1, 1], [9, 2], [3, 3]]]),),
    (("segmentation", [1, 1, 9, 2, 3, 3]),),
    (("segmentation", [[1, 1, 9, 2, 3, None]]),),
    (("segmentation", [[1, 1, 9, 2, 3, True]]),),
    (("segmentation", [[1, 1, 9, 2, 3, 10**30]]),),
    (("segmentation", [[1, 1, 9, 2, 3, 2**64 - 1]]),),
    (("segmentation", [[]]),),
    (("segmentation", {}),),
    (("segmentation", "[[1, 1, 9, 2, 3, 3]]"),),
    (("segmentation", 5),),
    (("id", 10**30),),
    (("area", 10**30),),
    (("bbox", ...),),
    (("bbox", [0, 0, 80, 60]),),
    (("bbox", ["1", 2, 3, 4]),),
    (("bbox", [500, 500, 3, 4]),),
    (("bbox", [-3, -3, 50, 50]),),
    (("image_id", 77),),
    (("image_id", "2"),),
    (("image_id", 2.0),),
    (("category_id", 77),),
    (("id", ...),),
    (("id", 0),),
    (("keypoints", [5, 5, 2]),),
    (("keypoints", [5, 5, 3, 5, 5, 1]),),
    (("keypoints", [None] * 6),),
    (("attributes", {"occluded": False}),),
    (("image_id", 1), ("bbox", [1, 1, 10, 10]), ("segmentation", None), ("category_id", 9)),
)


def outcome(read):
    """Returns all results of a reader, or the text of its error."""
    try:
        content = read()
    except (ValueError, OSError) as error:
        return str(error)
    return content.categories, content.images, list(content.annotations), content.left_out, content.warnings


def both_outcomes(path, monkeypatch):
    """Returns the outcomes of the fast path and of checking each annotation separately."""
    fast = outcome(lambda: read_annotations(path, max_bad_images=0.9))
    with monkeypatch.context() as patch:
        patch.setattr(coco_scan, "_split_and_read", lambda *values: None)
        careful = outcome(lambda: read_annotations(path, max_bad_images=0.9))
    return fast, careful


@pytest.mark.parametrize("seed", range(80))
def test_arrays_and_single_annotations_give_the_same_result(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(coco_scan, "BLOCK", 16)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(generated_content(seed)))
    fast, careful = both_outcomes(path, monkeypatch)
    assert fast == careful


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_the_same_result_or_the_same_error(tmp_path, monkeypatch, kind):
    path = tmp_path / "damaged.json"
    for seed in range(12):
        path.write_bytes(damaged_coco(kind, seed))
        fast, careful = both_outcomes(path, monkeypatch)
        assert fast == careful, seed


def test_regular_annotations_are_not_read_one_by_one(tmp_path):
    content = generated_content(0)
    content["annotations"] = [_annotation(random.Random(1000 + id), id) for id in range(1, 200)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    scan = coco_scan.scan_file(path, "a COCO json")
    assert len(scan.regular_annotations) > 150
    assert len(scan.regular_annotations) + len(scan.other_annotations) == 199
    assert (
        np.sort([*scan.positions, *(position for position, _ in scan.other_annotations)]) == np.arange(199)
    ).all()


@pytest.mark.parametrize(
    ("coordinate", "dtype"), [(4.25, "int32"), (4.0, "int32"), (4.123456789, "float64"), (1 / 3, "float64")]
)
def test_coordinates_are_those_of_the_file(tmp_path, coordinate, dtype):
    polygon = [coordinate, 3.0, 14.0, 3.0, 14.0, 12.0, 4.0, 12.0]
    content = valid_content()
    content["annotations"][0]["segmentation"] = [polygon]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    scan = coco_scan.scan_file(path, "a COCO json")
    assert scan.regular_annotations.numbers.dtype == dtype
    assert as_floats(scan.regular_annotations.numbers)[:8].tolist() == polygon


def test_annotations_of_an_image_behave_as_a_tuple(tmp_path):
    write_images(tmp_path)
    (tmp_path / "instances.json").write_text(json.dumps(valid_content()))
    annotations = read_coco(tmp_path / "instances.json", tmp_path).images[1].annotations
    assert isinstance(annotations, ImageAnnotations)
    assert [one.id for one in annotations] == [3, 4] and annotations[-1] == annotations[1]
    assert annotations[:1] == (annotations[0],) and annotations == tuple(annotations)
    with pytest.raises(IndexError):
        annotations[2]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The path of annotations that are in the cache, the cached file, and the expected outcome."""
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(reader_cache, "MIN_BYTES", 0)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(generated_content(5)))
    expected = outcome(lambda: read_annotations(path, max_bad_images=0.9))
    (file,) = (tmp_path / "home" / "datasets").glob("annotations-*.npz")
    return path, file, expected


def count_reads(monkeypatch):
    """Returns a list that grows each time annotations are parsed."""
    reads, original = [], coco_scan._split_and_read
    monkeypatch.setattr(coco_scan, "_split_and_read", lambda *values: reads.append(1) or original(*values))
    return reads


def test_the_second_read_comes_from_the_cache_and_is_equal(cached, monkeypatch):
    path, _, expected = cached
    reads = count_reads(monkeypatch)
    assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected
    assert not reads


def test_a_changed_file_of_equal_size_and_time_is_read_again(cached, monkeypatch):
    path, _, expected = cached
    stat, text = path.stat(), path.read_text()
    path.write_text(text.replace('"cup"', '"cap"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    reads = count_reads(monkeypatch)
    found = outcome(lambda: read_annotations(path, max_bad_images=0.9))
    assert reads and [category.name for category in found[0]] == ["person", "cap"]
    assert found[1:] == expected[1:]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_cache_is_reported_and_replaced(cached, monkeypatch, caplog, damage):
    path, file, expected = cached
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[data.index(b"[[") if b"[[" in data else len(data) // 2] ^= 1
    file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"x" * 500}.get(damage, data))
    reads = count_reads(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected
    assert reads and "cannot be used" in caplog.text and str(file) in caplog.text
    assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected
    assert len(reads) == 1  # the cache was written again


def test_the_cache_of_another_reader_is_not_used(cached, monkeypatch):
    path, _, expected = cached
    monkeypatch.setattr(reader_cache, "READER_VERSION", reader_cache.READER_VERSION + 1)
    reads = count_reads(monkeypatch)
    assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected
    assert reads


def test_a_cache_under_the_name_of_another_content_is_not_used(cached, monkeypatch):
    path, file, _ = cached
    path.write_text(json.dumps(generated_content(4)))
    expected = outcome(lambda: coco_content.read_annotations(path, max_bad_images=0.9))
    (other,) = set(file.parent.glob("annotations-*.npz")) - {file}
    other.write_bytes(file.read_bytes())
    assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected


@pytest.mark.parametrize("obstacle", ["file", "off"])
def test_without_a_cache_folder_the_result_is_the_same(cached, monkeypatch, tmp_path, caplog, obstacle):
    path, _, expected = cached
    (tmp_path / "no_folder").write_text("a file")  # a folder cannot be created here, even by root
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "no_folder"))
    if obstacle == "off":
        monkeypatch.setenv("MASK_RCNN_DATA_CACHE", "off")
    with caplog.at_level(logging.WARNING):
        assert outcome(lambda: read_annotations(path, max_bad_images=0.9)) == expected
    assert ("cannot be written" in caplog.text) == (obstacle == "file")


def test_the_cache_is_bounded_and_the_oldest_goes_first(cached, monkeypatch):
    path, file, _ = cached
    os.utime(file, (1, 1))
    monkeypatch.setattr(reader_cache, "MAX_BYTES", file.stat().st_size * 3 // 2)
    path.write_text(json.dumps(generated_content(4)))
    outcome(lambda: read_annotations(path, max_bad_images=0.9))
    (left,) = file.parent.glob("annotations-*.npz")
    assert left != file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(checked_files, "MIN_REMEMBERED", 0)
    write_images(tmp_path)
    return tmp_path


def test_headers_are_remembered_until_a_file_changes(folder, monkeypatch):
    paths = [folder / "a.png", folder / "b.png"]
    reads, original = [], checked_files.read_complete_header
    monkeypatch.setattr(
        checked_files, "read_complete_header", lambda name, *rest: reads.append(name) or original(name, *rest)
    )
    expected = [(24, 32, 8), (24, 32, 8)]
    assert checked_files.check_files(paths, folder) == expected and len(reads) == 2
    assert checked_files.check_files(paths, folder) == expected and len(reads) == 2
    stat = paths[0].stat()
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert checked_files.check_files(paths, folder) == expected and reads[2:] == [str(paths[0])]


def test_a_remembered_image_that_is_too_large_or_gone_is_an_error(folder):
    paths = [folder / "a.png", folder / "b.png"]
    checked_files.check_files(paths, folder)
    paths[1].unlink()
    too_large, missing = checked_files.check_files(paths, folder, max_pixels=100)
    assert "data.max_pixels" in str(too_large) and isinstance(missing, FileNotFoundError)


def test_the_report_of_a_file_is_logged_once_in_a_run(folder, caplog):
    content = valid_content()
    del content["annotations"][0]["area"]
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        warnings = [read_coco(path, folder).warnings for _ in range(3)]
        assert caplog.text.count("`area` was missing") == 1
        del content["annotations"][1]["area"]
        path.write_text(json.dumps(content))
        read_coco(path, folder)
    assert len(set(warnings)) == 1 and warnings[0]
    assert caplog.text.count("`area` was missing") == 2


@pytest.mark.parametrize("seed", range(6))
def test_arrays_of_a_data_set_are_those_of_its_records(folder, seed):
    content = generated_content(seed, num_annotations=40)
    for image in content["images"]:
        Image.new("RGB", (80, 60)).save(folder / image["file_name"])
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    try:
        dataset = read_coco(path, folder, max_bad_images=0.9)
    except ValueError:
        pytest.skip("a generated file that no reader accepts")
    some = dataclasses.replace(dataset, images=dataset.images[1::2][::-1])
    for each in (dataset, some):
        images = [dataclasses.replace(image, annotations=tuple(image.annotations)) for image in each.images]
        by_records = arrays_of(dataclasses.replace(each, images=tuple(images)))
        for name, values in vars(arrays_of(each)).items():
            np.testing.assert_array_equal(values, getattr(by_records, name), name)


# Prints the memory growth of a process that reads annotations, at the end and at the peak, in bytes.
READ = """
import json, sys
from mask_rcnn.data.readers.coco_content import read_annotations
def kilobytes(name):  # not `ru_maxrss`, which a new process has from the one that started it
    return int(open("/proc/self/status").read().partition(name + ":")[2].split()[0])
before = kilobytes("VmRSS")
content = read_annotations(sys.argv[1])
after, peak = kilobytes("VmRSS"), kilobytes("VmHWM")
print(json.dumps([len(content.annotations), 1024 * (after - before), 1024 * (peak - before)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_reader_is_bounded_by_the_size_of_the_file(tmp_path):
    draw = random.Random(0)
    images = [{"id": id, "file_name": f"{id}.jpg", "height": 480, "width": 640} for id in range(1, 12_001)]
    annotations = []
    for id in range(1, 90_001):
        x, y = round(draw.uniform(50, 550), 2), round(draw.uniform(50, 400), 2)
        angles = np.arange(36) * 2 * np.pi / 36
        points = np.stack([x + 30 * np.cos(angles), y + 30 * np.sin(angles)], axis=1).round(2)
        low, high = points.min(axis=0), points.max(axis=0)
        annotations.append(
            {
                "id": id,
                "image_id": draw.randint(1, 12_000),
                "category_id": 9,
                "bbox": [*low.tolist(), *(high - low).round(2).tolist()],
                "area": 2700.0,
                "iscrowd": 0,
                "segmentation": [points.ravel().tolist()],
            }
        )
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    environment = {**os.environ, "MASK_RCNN_DATA_CACHE": "off"}
    words = [sys.executable, "-c", READ, str(path)]
    output = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    count, after, peak = json.loads(output)
    size = path.stat().st_size
    assert count == 90_000
    assert after < 1.2 * size and peak < 3.5 * size, (after, peak, size)  # Python objects: 7 times the size


@pytest.mark.parametrize("cpu_share, is_threaded", [(0.2, True), (0.9, False)])
def test_headers_are_read_in_threads_where_the_disk_is_slow(tmp_path, monkeypatch, cpu_share, is_threaded):
    threads = set()

    def check(name, *kind):
        threads.add(threading.get_ident())
        return checked_files.CheckedFile(len(name), 1, 8)

    wall, cpu = iter([0.0, 1.0]), iter([0.0, cpu_share])
    clocks = types.SimpleNamespace(perf_counter=lambda: next(wall), thread_time=lambda: next(cpu))
    monkeypatch.setattr(checked_files, "time", clocks)
    monkeypatch.setattr(checked_files, "_check", check)
    monkeypatch.setattr(checked_files, "PER_TASK", 4)
    names = ["x" * length for length in range(1, 41)]
    assert [file.height for file in checked_files.check_files(names, tmp_path)] == list(range(1, 41))
    assert (threads != {threading.get_ident()}) == is_threaded
