"""Tests of AP differences, thresholds, calibration, confusion matrix and slices, with numbers by hand."""

import numpy as np
import pytest
from report_scenes import CAT, DOG, coco_eval, detected, evaluate, random_scene, results, scene, truth

from mask_rcnn.report.analysis import analyze
from mask_rcnn.report.compare import compare_by_resampling, compare_images
from mask_rcnn.report.curves import (
    average_precision_of,
    calibration,
    score_curve,
    score_thresholds,
)
from mask_rcnn.report.operating_point import confusion_matrix, image_errors, operating_point
from mask_rcnn.report.slices import slice_rows

BOX, FAR, SHIFTED = (10, 10, 20, 20), (60, 30, 20, 20), (20, 10, 20, 20)


def test_average_precision_by_hand():
    assert average_precision_of(np.array([True, False, True]), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert average_precision_of(np.zeros(0, bool), 3) == 0
    assert average_precision_of(np.zeros(0, bool), 0) == 1
    assert average_precision_of(np.array([False]), 0) == 0


def test_the_bootstrap_compares_ap_and_the_same_run_is_no_different():
    annotations, entries = random_scene(4)
    better = [entry for entry in entries if entry["score"] > 0.3]
    first, second = evaluate(annotations, entries), evaluate(annotations, better)
    found = compare_by_resampling(first, second)
    assert found["AP"]["first"] == pytest.approx(first.summary["AP"])
    assert found["AP"]["second"] == pytest.approx(second.summary["AP"])
    assert found["AP50"]["difference"] == pytest.approx(second.summary["AP50"] - first.summary["AP50"])
    assert found["AP"]["low"] <= found["AP"]["high"]
    assert found == compare_by_resampling(first, second)
    same = compare_by_resampling(first, first)["AP"]
    assert (same["low"], same["high"], same["share_better"]) == (0, 0, 0.5)


def test_the_interval_of_the_bootstrap_is_that_of_its_resamples():
    objects = [(BOX, CAT, image) for image in (1, 2)]
    first = scene(objects, [(BOX, CAT, 0.9, 1)])
    second = scene(objects, [(BOX, CAT, 0.9, image) for image in (1, 2)])
    found = compare_by_resampling(first, second)["AP"]
    # A resample of 2 images has the second image 0, 1 or 2 times. It loses 0, 50 or all of 101 points.
    assert (found["low"], found["high"]) == (0, pytest.approx(1))
    assert found["difference"] == pytest.approx(50 / 101)
    assert found["share_better"] == pytest.approx(3 / 4 + 1 / 8, abs=0.06)


def test_a_comparison_counts_objects_and_images():
    objects = [(BOX, CAT, image) for image in (1, 2, 3)]
    first = analyze(scene(objects, [(BOX, CAT, 0.9, 1), (FAR, CAT, 0.95, 1), (BOX, CAT, 0.9, 2)]))
    second = analyze(scene(objects, [(BOX, CAT, 0.9, 1), (BOX, CAT, 0.9, 3)]))
    found = compare_images(first, second)
    assert found.pop("differences").tolist() == [-1, 1, -1]
    assert found == {"fixed": 1, "broken": 1, "better": 2, "equal": 0, "worse": 1}


def test_the_score_threshold_is_where_f1_is_largest_and_equal_scores_stay_together():
    curve = score_curve(np.array([0.9, 0.5, 0.5, 0.3]), np.array([True, True, False, False]), 2)
    assert curve["scores"].tolist() == [0.9, 0.5, 0.3]
    np.testing.assert_allclose(curve["f1"], [2 / 3, 4 / 5, 4 / 6])
    np.testing.assert_allclose(curve["precision"], [1, 2 / 3, 2 / 4])
    np.testing.assert_allclose(curve["recall"], [1 / 2, 1, 1])
    nothing = score_curve(np.array([0.7]), np.array([False]), 1)
    assert score_thresholds([curve, nothing], curve).tolist() == [0.5, 0.5]


def test_calibration_by_hand():
    found = calibration(np.array([0.95, 1.0, 0.3, 0.3]), np.array([True, False, False, True]))
    assert [one["count"] for one in found["bins"]] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    assert found["bins"][9]["mean_score"] == pytest.approx(0.975)
    assert found["bins"][9]["precision"] == 0.5
    assert found["error"] == pytest.approx((2 * 0.475 + 2 * 0.2) / 4)
    assert calibration(np.zeros(0), np.zeros(0, bool))["error"] is None


def test_the_confusion_matrix_by_hand():
    objects = [(BOX, CAT), (FAR, DOG), ((0, 40, 9, 9), DOG)]
    wrong = [(BOX, DOG, 0.8), ((80, 0, 9, 9), CAT, 0.7), (SHIFTED, CAT, 0.1)]
    evaluation = scene(objects, [(FAR, DOG, 0.9), *wrong])
    point = operating_point(evaluation, np.array([0.5, 0.5]))
    matrix = confusion_matrix(evaluation, point)
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]  # cat, dog, background
    counts = image_errors(evaluation, point)
    assert [counts[key].tolist() for key in ("objects", "found", "missed", "wrong")] == [[3], [1], [2], [2]]
    assert counts["f1"].tolist() == [pytest.approx(2 / 6)]


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_matrix_has_the_matches_of_pycocotools(seed):
    annotations, entries = random_scene(seed)
    evaluation = evaluate(annotations, entries)
    matrix = confusion_matrix(evaluation, operating_point(evaluation, np.array([0.45, 0.25])))
    theirs = [each for each in coco_eval(annotations, entries).evalImgs if each and each["aRng"][1] == 1e10]
    for k, (category, threshold) in enumerate(((CAT, 0.45), (DOG, 0.25))):
        mine = [each for each in theirs if each["category_id"] == category]
        kept = [np.array(each["dtScores"]) >= threshold for each in mine]
        counted = [~each["dtIgnore"][0].astype(bool) & keep for each, keep in zip(mine, kept, strict=True)]
        pairs = list(zip(mine, counted, strict=True))
        assert matrix[k, k] == sum(((each["dtMatches"][0] > 0) & count).sum() for each, count in pairs)
        assert matrix[:, k].sum() == sum(count.sum() for count in counted)
        assert matrix[k].sum() == sum((np.array(each["gtIgnore"]) == 0).sum() for each in mine)


def test_slices_by_hand():
    near, edge = (14, 10, 20, 20), (0, 40, 10, 24)  # near: IoU of the boxes 2/3
    annotations = truth([(BOX, CAT), (near, CAT), (edge, CAT), ((45, 0, 40, 40), CAT)])
    entries = results(
        [
            (BOX, CAT, 0.9),
            ((0, 42, 10, 22), CAT, 0.8),
            ((60, 50, 9, 14), CAT, 0.7),
            ((45, 0, 40, 32), CAT, 0.2),
        ]
    )
    found = detected(annotations, entries)
    evaluation = evaluate(annotations, entries)
    point = operating_point(evaluation, np.array([0.5, 0.5]))
    rows = slice_rows(evaluation, point, found.content, entries=found.entries, image_ids=found.image_ids)
    table = {(row["group"], row["slice"]): row for row in rows}
    assert table["overlap", "crowded"]["objects"] == 2
    assert table["overlap", "crowded"]["recall"] == 0.5
    assert table["overlap", "alone"]["recall"] == 1
    assert table["overlap", "alone"]["recall_at_threshold"] == 0.5  # the score 0.2 is below the threshold
    assert table["overlap", "overlapping"] == {
        "group": "overlap",
        "slice": "overlapping",
        "objects": 0,
        **dict.fromkeys(("recall", "recall_at_threshold", "mean_iou", "ap50")),
    }
    # At the edge: two objects are found, before (0.8) and after (0.2) a false positive (0.7) that touches it.
    assert table["truncation", "at the edge"]["objects"] == 2
    assert table["truncation", "at the edge"]["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert table["truncation", "at the edge"]["mean_iou"] == pytest.approx((22 / 24 + 32 / 40) / 2)
    assert table["truncation", "inside"]["ap50"] == pytest.approx(51 / 101)
    assert [table["size", name]["objects"] for name in ("small", "medium", "large")] == [3, 1, 0]
