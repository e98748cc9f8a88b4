"""Tests of the number of expected corrections per image, with detections made by hand."""

import numpy as np
import pytest

from mask_rcnn.postprocessing.uncertainty import image_uncertainty
from mask_rcnn.structures import Detections


def scored(*scores, agreement=None):
    count = len(scores)
    attributes = {} if agreement is None else {"agreement": np.array(agreement)}
    boxes = np.zeros((count, 4))
    return Detections(boxes, list(scores), np.ones(count, int), (9, 9), attributes=attributes)


def test_sure_detections_need_no_correction_and_those_near_the_threshold_most():
    assert image_uncertainty(scored(1.0, 1.0)).total == 0
    assert image_uncertainty(scored(0.5)).total == 0.5
    totals = [image_uncertainty(scored(score)).total for score in (0.5, 0.6, 0.4, 0.9, 0.1)]
    assert totals == pytest.approx([0.5, 0.4, 0.4, 0.1, 0.1])


def test_expected_corrections_are_wrong_and_missed_objects():
    found = image_uncertainty(scored(0.9, 0.75, 0.25, 0.125, 0.04))
    assert (found.wrong, found.missed, found.disagreement) == pytest.approx((0.35, 0.375, 0))
    assert (found.num_objects, found.num_candidates) == (2, 2)  # 0.04 counts as background
    assert found.total == pytest.approx(0.725) and found.per_object == pytest.approx(0.725 / 4)
    assert found.reason == "objects below the threshold"


def test_the_threshold_decides_what_is_found():
    found = image_uncertainty(scored(0.75, 0.5), score_threshold=0.7)
    assert (found.wrong, found.missed) == (0.25, 0.5)


def test_views_that_do_not_find_an_object_make_it_uncertain():
    found = image_uncertainty(scored(0.75, 0.75, 0.25, agreement=[1, 0, 0.5]))
    assert (found.wrong, found.disagreement, found.missed) == (0.5, 0.75, 0.125)
    assert found.reason == "views disagree"
    agreed = image_uncertainty(scored(0.75, 0.75, 0.25, agreement=[1, 1, 1]))
    assert agreed == image_uncertainty(scored(0.75, 0.75, 0.25)) and agreed.total < found.total


def test_an_image_without_detections_has_no_evidence():
    found = image_uncertainty(scored())
    assert (found.total, found.per_object, found.reason) == (0, 0, "nothing found")
    assert image_uncertainty(scored(0.6)).reason == "objects with low scores"
