"""Tests of TIDE's errors: scenes with exactly one error of each kind, and their costs by the definition."""

import copy

import numpy as np
import pytest
from report_scenes import CAT, DOG, coco_eval, evaluate, random_scene, scene

from mask_rcnn.report.errors import ERROR_TYPES, decompose, detection_errors, missed_objects

BOX, FAR, SHIFTED = (10, 10, 20, 20), (60, 30, 20, 20), (20, 10, 20, 20)  # SHIFTED: IoU 1/3 with BOX


def errors_of(evaluation):
    return decompose(evaluation, *detection_errors(evaluation))


ONE_ERROR = {  # objects, detections, and the AP50 that the error costs; the dog at FAR is always found
    "classification": ([(BOX, CAT)], [(BOX, DOG, 0.5)], 0.5),
    "localization": ([(BOX, CAT)], [(SHIFTED, CAT, 0.5)], 0.5),
    "both": ([(BOX, CAT)], [(BOX, CAT, 0.9), (SHIFTED, DOG, 0.95)], 0.25),
    "duplicate": ([(BOX, CAT), (FAR, CAT, 2)], [(BOX, CAT, 0.9), (BOX, CAT, 0.8), (FAR, CAT, 0.7, 2)], None),
    "background": ([(BOX, CAT)], [(BOX, CAT, 0.5), ((70, 0, 9, 9), CAT, 0.9)], 0.25),
    "missed": ([(BOX, CAT), (FAR, CAT, 2)], [(BOX, CAT, 0.9)], None),
}


@pytest.mark.parametrize("kind", ERROR_TYPES)
def test_one_error_of_a_kind_is_found_and_costs_what_it_hides(kind):
    objects, detections, cost = ONE_ERROR[kind]
    found = errors_of(scene([*objects, (FAR, DOG)], [*detections, (FAR, DOG, 0.9)]))
    counts = {name: found["errors"][name]["count"] for name in ERROR_TYPES}
    assert counts == {name: int(name == kind) for name in ERROR_TYPES}
    if kind == "duplicate":  # two objects: precision 1 to recall 0.5 (51 points), then 2/3
        cost = 0.5 * (1 - (51 + 50 * 2 / 3) / 101)
    if kind == "missed":  # one of two cats: 51 of 101 points
        cost = 0.5 * (1 - 51 / 101)
    assert found["errors"][kind]["ap50_cost"] == pytest.approx(cost)
    for other in set(ERROR_TYPES) - {kind}:
        assert found["errors"][other]["ap50_cost"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("width", "kind"), [(1, "background"), (2, "localization"), (9, "localization"), (10, None)]
)
def test_the_limits_of_iou_belong_to_the_better_kind(width, kind):
    found = errors_of(scene([((0, 0, 20, 10), CAT)], [((0, 0, width, 10), CAT, 0.9)]))  # IoU width / 20
    assert [name for name in ERROR_TYPES[:-1] if found["errors"][name]["count"]] == [kind] * (
        kind is not None
    )


def test_detections_in_a_crowd_region_are_no_errors_and_the_region_is_not_missed():
    found = errors_of(scene([(BOX, CAT), (FAR, CAT, 1, 1)], [(BOX, CAT, 0.9), (FAR, CAT, 0.95)]))
    assert found["ap50"] == pytest.approx(1)
    assert not any(each["count"] for each in found["errors"].values())


def test_only_the_best_of_several_wrong_detections_is_corrected():
    objects = [(BOX, CAT), (FAR, CAT)]
    wrong = [(SHIFTED, CAT, 0.8), ((0, 10, 20, 20), CAT, 0.7)]  # both belong to the object at BOX
    found = errors_of(scene(objects, [(FAR, CAT, 0.9), *wrong]))
    assert found["errors"]["localization"]["count"] == 2
    assert found["errors"]["localization"]["ap50_cost"] == pytest.approx(1 - 51 / 101)
    assert found["errors"]["missed"]["count"] == 0  # a detection belongs to it


def corrected(annotations, entries, evaluation, kind):
    """Returns COCO content and entries in which the errors of a kind are corrected as TIDE defines it."""
    kinds, targets = detection_errors(evaluation)
    entries = copy.deepcopy(entries)
    objects = sorted(annotations["annotations"], key=lambda one: one["image_id"])  # in reading order
    if kind == "missed":
        missed = evaluation.annotations[missed_objects(evaluation, targets)]
        left = [one for number, one in enumerate(objects) if number not in missed]
        return {**annotations, "annotations": left}, entries
    taken = set(np.flatnonzero(evaluation.found_by >= 0).tolist())
    removed = set()
    for row in np.argsort(-evaluation.scores):
        if kinds[row] != ERROR_TYPES.index(kind):
            continue
        entry, target = int(evaluation.entries[row]), int(targets[row])
        if target < 0 or target in taken:
            removed.add(entry)
            continue
        taken.add(target)
        meant = objects[evaluation.annotations[target]]
        entries[entry] |= {"bbox": meant["bbox"], "category_id": meant["category_id"]}
    return annotations, [entry for number, entry in enumerate(entries) if number not in removed]


def scene_of_all_errors():
    """Returns COCO content and entries. Objects are apart, so that corrected detections match them."""
    annotations, entries = random_scene(11, num_images=6, num_objects=40)
    objects, random = annotations["annotations"], np.random.default_rng(5)
    for number, one in enumerate(objects):
        one |= {"bbox": [number % 8 * 12, number // 8 * 12, 10, 10], "iscrowd": 0}
    for number, entry in enumerate(entries):
        near = objects[random.integers(len(objects))]
        x, y, width, height = near["bbox"]
        category = int(random.choice([near["category_id"], CAT]))
        box = [x + int(random.integers(0, 7)), y, width, height] if number % 7 else [80, 62, 9, 2]
        entry |= {"image_id": near["image_id"], "category_id": category, "bbox": box}
        entry["score"] = float(random.random())
    return annotations, entries


@pytest.mark.parametrize("kind", ERROR_TYPES)
def test_costs_are_those_of_results_that_are_corrected_and_scored_again(kind):
    annotations, entries = scene_of_all_errors()
    evaluation = evaluate(annotations, entries)
    found = errors_of(evaluation)

    def ap50(*content):
        precision = coco_eval(*content).eval["precision"][0, :, :, 0, -1]
        assert (precision > -1).all()
        return precision.mean()

    assert found["errors"][kind]["count"] > 0
    assert found["ap50"] == pytest.approx(ap50(annotations, entries))
    gain = ap50(*corrected(annotations, entries, evaluation, kind)) - found["ap50"]
    assert found["errors"][kind]["ap50_cost"] == pytest.approx(gain)


def test_a_class_whose_objects_are_all_missed_counts_as_perfect_without_them():
    found = errors_of(scene([(BOX, CAT), (FAR, DOG)], [(BOX, CAT, 0.9)]))
    assert found["errors"]["missed"] == {"count": 1, "ap50_cost": pytest.approx(0.5)}


def test_all_errors_of_one_side():
    found = errors_of(scene([(BOX, CAT), (FAR, CAT)], [(BOX, CAT, 0.5), ((70, 0, 9, 9), CAT, 0.9)]))
    assert found["ap50"] == pytest.approx(0.5 * 51 / 101)
    assert found["errors"]["false_positives"] == {"count": 1, "ap50_cost": pytest.approx(0.5 * 51 / 101)}
    assert found["errors"]["false_negatives"] == {"count": 1, "ap50_cost": pytest.approx(0.5 * 50 / 101)}


def test_without_objects_nothing_is_measured():
    found = errors_of(scene([(FAR, DOG, 1, 1)], [(BOX, CAT, 0.9)]))
    assert found["ap50"] is None
    assert found["errors"]["background"] == {"count": 1, "ap50_cost": None}
