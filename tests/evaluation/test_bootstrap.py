"""Tests that AP of resampled images equals pycocotools' AP of a data set with repeated images."""

import numpy as np
import pytest

from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.evaluation.bootstrap import average_precisions, confidence_interval, image_counts
from mask_rcnn.evaluation.coco_evaluation import evaluate_results
from mask_rcnn.report.detection_matches import match_detections

SIZES = {"images": 6, "objects": 5}


def objects_and_results(seed):
    """Returns ground truth of two classes with crowds, and results with moved, missed and repeated objects.

    Some scores are equal, but only in different images.
    """
    random = np.random.default_rng(seed)
    annotations, results = [], []
    for image_id in range(1, SIZES["images"] + 1):
        for _ in range(random.integers(0, SIZES["objects"])):
            x, y, width, height = (int(each) for each in random.integers(5, 40, 4))
            one = {"image_id": image_id, "category_id": int(random.integers(1, 3)), "iscrowd": 0}
            one |= {"bbox": [x, y, width, height], "area": width * height, "id": len(annotations) + 1}
            one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            one["iscrowd"] = int(random.random() < 0.15)
            annotations.append(one)
            for _ in range(random.integers(0, 3)):
                dx, dy = (int(each) for each in random.integers(-4, 5, 2))
                mine = [each for each in results if each["image_id"] == image_id]
                score = int(random.integers(1, 9)) / 10 + len(mine) / 1000  # unique in each image
                box = [x + dx, y + dy, width, height]
                results.append(
                    {k: one[k] for k in ("image_id", "category_id")} | {"bbox": box, "score": score}
                )
    truth = {
        "images": [{"id": id, "height": 100, "width": 100} for id in range(1, SIZES["images"] + 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    return truth, results


def repeated(truth, results, counts):
    """Returns a data set in which image i occurs `counts[i]` times. Its copies are consecutive."""
    images, annotations, entries = [], [], []
    for image, count in zip(truth["images"], counts, strict=True):
        for _ in range(count):
            new = {"image_id": len(images) + 1}
            images.append({**image, "id": new["image_id"]})
            mine = [each for each in truth["annotations"] if each["image_id"] == image["id"]]
            annotations += [{**each, **new, "id": len(annotations) + i} for i, each in enumerate(mine, 1)]
            entries += [{**each, **new} for each in results if each["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": annotations}, entries


def matches_of(truth, results):
    content = read_annotations(truth)
    ids = [image["id"] for image in content.images]
    return match_detections(content, results, ids, iou_type="bbox", max_detections=100).class_matches()


@pytest.mark.parametrize("seed", range(3))
def test_ap_of_each_image_once_is_that_of_pycocotools(seed):
    truth, results = objects_and_results(seed)
    ap = average_precisions(matches_of(truth, results), np.ones([1, SIZES["images"]], int))[0]
    expected = evaluate_results(results, truth, ("bbox",))["bbox"]
    found = {"AP": ap.mean(), "AP50": ap[0], "AP75": ap[5]}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_ap_of_a_resample_is_that_of_a_data_set_with_repeated_images(seed):
    truth, results = objects_and_results(seed)
    counts = image_counts(SIZES["images"], 4, seed)
    ap = average_precisions(matches_of(truth, results), counts)
    for found, count in zip(ap, counts, strict=True):
        expected = evaluate_results(*repeated(truth, results, count)[::-1], ("bbox",))["bbox"]
        assert (found.mean(), found[0]) == pytest.approx((expected["AP"], expected["AP50"]), abs=1e-12)


def test_a_resample_without_an_object_is_not_measured():
    truth, results = objects_and_results(0)
    ap = average_precisions(matches_of(truth, results), np.zeros([1, SIZES["images"]], int))
    assert np.isnan(ap).all() and confidence_interval(ap[:, 0]) is None


def test_no_detections_have_an_ap_of_0():
    truth, _ = objects_and_results(0)
    assert not average_precisions(matches_of(truth, []), np.ones([1, SIZES["images"]], int)).any()


def test_each_resample_draws_as_many_images_as_there_are():
    counts = image_counts(7, 50)
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all() and counts.max() > 1


def test_an_interval_holds_its_share_of_the_values():
    assert confidence_interval(np.append(np.arange(101.0), np.nan)) == pytest.approx((2.5, 97.5))
