"""Tests of damaged and hostile COCO files: a result or one clear error, within time and memory limits.

Values never change without a warning.
"""

import json
import resource
import time

import pytest
from absl import logging
from damaged_coco import KINDS, POINTS, RUNS, damaged_coco, damaged_results, valid_content, write_images

from mask_rcnn.config import Config
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data_check.check import check_dataset
from mask_rcnn.data_check.text_report import format_report
from mask_rcnn.evaluation.coco_evaluation import evaluate_results
from mask_rcnn.system.terminal import printable

FOUND = {"image_id": 1, "category_id": 1, "bbox": [4, 3, 10, 9], "score": 0.9}
RESULTS = [{**FOUND, "segmentation": RUNS, "keypoints": POINTS}]
MAX_SECONDS = 10
MAX_MEGABYTES = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    write_images(folder)
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(logging, "warning", lambda *values: None)


def outcome(function, name):
    """Returns the result of a function, or None after a ValueError or OSError that names the file."""
    start = time.monotonic()
    try:
        return function()
    except (ValueError, OSError) as error:
        assert name in str(error) and "Received: " in str(error)
        assert len(str(error)) < 10_000
        return None
    finally:
        assert time.monotonic() - start < MAX_SECONDS


def check_unchanged(dataset, content):
    """Checks that without a warning each value in the records is that of the file."""
    images = {image.id: image for image in dataset.images}
    assert list(images) == [image["id"] for image in content["images"]]
    ids = {class_id: category.id for class_id, category in enumerate(dataset.categories, start=1)}
    assert sorted(ids.values()) == sorted(category["id"] for category in content["categories"])
    records = {one.id: (image, one) for image in dataset.images for one in image.annotations}
    assert list(records) == [one["id"] for one in content["annotations"]]
    for entry in content["annotations"]:
        image, one = records[entry["id"]]
        x, y, width, height = entry["bbox"]
        assert one.box == pytest.approx((y, x, y + height, x + width), abs=1)
        assert (image.id, ids[one.class_id]) == (entry["image_id"], entry["category_id"])
        assert (one.area, one.crowd) == (entry["area"], entry["iscrowd"])
        assert one.segmentation == (entry.get("segmentation") or None)
        flat = entry.get("keypoints") or None
        assert one.keypoints == (flat and tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True)))


def check(data, folder):
    path = folder / "damaged.json"
    path.write_bytes(data)
    dataset = outcome(lambda: read_coco(path, folder, max_bad_images=1.0), "damaged.json")
    if dataset is not None:
        assert printable(format_report(check_dataset(dataset, Config(), decode=False)))
        if not dataset.warnings:
            check_unchanged(dataset, json.loads(data))
    kinds = ("bbox", "segm", "keypoints")
    metrics = outcome(lambda: evaluate_results(RESULTS, path, kinds), "")
    assert metrics is None or printable(metrics.table())
    return dataset is not None


def check_kind(kind, seeds, folder):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accepted = [check(damaged_coco(kind, seed), folder) for seed in seeds]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_MEGABYTES * 1024
    return accepted


def test_the_content_that_is_damaged_has_nothing_wrong(folder):
    path = folder / "valid.json"
    path.write_text(json.dumps(valid_content()))
    dataset = read_coco(path, folder)
    assert dataset.warnings == ()
    check_unchanged(dataset, valid_content())
    assert evaluate_results(RESULTS, path, ("bbox", "segm", "keypoints")).warnings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_json_is_read_or_refused_in_one_message(kind, folder):
    check_kind(kind, range(6), folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_damaged_jsons_are_read_or_refused_in_one_message(kind, folder):
    check_kind(kind, range(6, 60), folder)


def test_damaged_results_are_scored_or_refused_in_one_message():
    for seed in range(200):
        entries = damaged_results(seed)
        for kinds in (None, ("bbox", "segm", "keypoints")):
            outcome(
                lambda kinds=kinds, entries=entries: evaluate_results(entries, valid_content(), kinds), ""
            )


def test_the_generator_makes_at_least_300_different_files():
    assert len({damaged_coco(kind, seed) for kind in KINDS for seed in range(60)}) >= 300
