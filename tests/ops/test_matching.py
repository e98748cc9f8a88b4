"""Tests of the matching of anchors or RoIs with objects."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops import matching
from mask_rcnn.ops.matching import IGNORED, NEGATIVE, POSITIVE, match

# IoU with the object [0, 0, 10, 10]: width of the box over 10.
OBJECT = [0.0, 0, 10, 10]
PADDING = [0.0, 0, 0, 0]


def strip(width):
    return [0.0, 0, 10, width]


def match_one(boxes, gt_boxes, gt_class_ids, thresholds=(0.3, 0.7), **kwargs):
    """Matches in a batch of one image; returns NumPy arrays `[N]`."""
    boxes = tf.reshape(tf.constant(boxes, tf.float32), [1, -1, 4])
    gt_boxes = tf.reshape(tf.constant(gt_boxes, tf.float32), [1, -1, 4])
    indices, labels = match(boxes, gt_boxes, tf.constant([gt_class_ids]), thresholds=thresholds, **kwargs)
    return indices[0].numpy(), labels[0].numpy()


def test_labels_follow_the_thresholds():
    _, labels = match_one([strip(w) for w in (2, 4, 6, 8, 10)], [OBJECT], [1])
    assert labels.tolist() == [NEGATIVE, IGNORED, IGNORED, POSITIVE, POSITIVE]


def test_an_iou_equal_to_the_threshold_is_positive():
    _, labels = match_one([strip(5), strip(4.9)], [OBJECT], [1], (0.5, 0.5))
    assert labels.tolist() == [POSITIVE, NEGATIVE]


def test_a_box_belongs_to_the_object_it_overlaps_most():
    other = [0, 8, 10, 20]
    indices, labels = match_one([strip(9), [0, 9, 10, 20]], [OBJECT, other], [1, 2])
    assert indices.tolist() == [0, 1]
    assert labels.tolist() == [POSITIVE, POSITIVE]


def test_the_best_box_of_an_object_is_positive_whatever_its_iou():
    boxes = [strip(1), strip(2), [50, 50, 60, 60]]
    _, labels = match_one(boxes, [OBJECT], [1], keep_best=True)
    assert labels.tolist() == [NEGATIVE, POSITIVE, NEGATIVE]
    _, labels = match_one(boxes, [OBJECT], [1])
    assert labels.tolist() == [NEGATIVE, NEGATIVE, NEGATIVE]


def test_equally_good_boxes_are_all_kept():
    _, labels = match_one([strip(2), [0, 8, 10, 10], strip(1)], [OBJECT], [1], keep_best=True)
    assert labels.tolist() == [POSITIVE, POSITIVE, NEGATIVE]


def test_an_object_that_nothing_overlaps_makes_nothing_positive():
    _, labels = match_one([[50, 50, 60, 60], [70, 70, 80, 80]], [OBJECT], [1], keep_best=True)
    assert labels.tolist() == [NEGATIVE, NEGATIVE]


def test_without_objects_all_boxes_are_negative_and_of_object_zero():
    indices, labels = match_one([strip(5), PADDING], [PADDING, PADDING], [0, 0], keep_best=True)
    assert indices.tolist() == [0, 0]
    assert labels.tolist() == [NEGATIVE, NEGATIVE]


def test_no_boxes_give_empty_results():
    indices, labels = match_one([], [OBJECT], [1], keep_best=True)
    assert indices.shape == labels.shape == (0,)


def test_padding_behind_the_objects_changes_nothing():
    boxes = [strip(w) for w in (2, 4, 8)]
    indices, labels = match_one(boxes, [OBJECT], [1], keep_best=True)
    padded = match_one(boxes, [OBJECT, PADDING, PADDING], [1, 0, 0], keep_best=True)
    np.testing.assert_array_equal(padded[0], indices)
    np.testing.assert_array_equal(padded[1], labels)


def test_a_box_inside_a_crowd_is_neither_positive_nor_negative():
    crowd = [0, 0, 100, 100]
    boxes = [[10, 10, 20, 20], [0, 0, 100, 100], [200, 200, 210, 210]]
    _, labels = match_one(boxes, [crowd], [-1], keep_best=True)
    assert labels.tolist() == [IGNORED, IGNORED, NEGATIVE]


def test_a_box_is_inside_a_crowd_with_more_than_half_of_its_area():
    crowd = [0, 0, 100, 100]
    boxes = [[0, 90, 10, 110], [0, 89, 10, 109]]  # 10 and 11 of 20 columns inside
    _, labels = match_one(boxes, [crowd], [-1])
    assert labels.tolist() == [NEGATIVE, IGNORED]


def test_an_object_in_a_crowd_is_still_found():
    indices, labels = match_one([strip(9), strip(2)], [OBJECT, [0, 0, 100, 100]], [1, -1])
    assert indices.tolist() == [0, 0]
    assert labels.tolist() == [POSITIVE, IGNORED]


def test_each_image_has_its_own_objects():
    boxes = tf.constant([[strip(10), [50, 50, 60, 60]]], tf.float32)  # [1, 2, 4], the same anchors for both
    gt_boxes = tf.constant([[OBJECT, PADDING], [[0, 90, 9, 99], [50, 50, 60, 60]]])
    indices, labels = match(boxes, gt_boxes, tf.constant([[1, 0], [2, 3]]), thresholds=(0.3, 0.7))
    assert indices.numpy().tolist() == [[0, 0], [0, 1]]
    assert labels.numpy().tolist() == [[POSITIVE, NEGATIVE], [NEGATIVE, POSITIVE]]


ANCHOR_RULE = {"thresholds": (0.3, 0.7), "keep_best": True}
RULES = [
    ANCHOR_RULE,
    *({"thresholds": (iou, iou)} for iou in (0.3, 0.5, 0.6, 0.7)),
]  # RoIs, and the heads of a cascade


def random_boxes(rng, *shape):
    """Returns boxes on a coarse grid, so that equal boxes, nested boxes and exact thresholds are frequent."""
    corners = rng.integers(0, 12, (*shape, 2))
    return np.concatenate([corners, corners + rng.integers(1, 9, (*shape, 2))], axis=-1).astype("float32")


def expected_match(boxes, regions, class_ids, thresholds, keep_best=False):
    """Computes `match` for one image in float64 NumPy, all pairs at once: `[N]` indices and labels."""
    low, high = thresholds
    corners = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    sides = np.minimum(boxes[:, None, 2:], regions[None, :, 2:]) - corners
    shared = np.prod(np.maximum(sides, 0), axis=-1)  # [N, T]
    area, region_area = (np.prod(each[:, 2:] - each[:, :2], axis=-1) for each in (boxes, regions))
    iou = shared / (area[:, None] + region_area - shared)
    is_best = keep_best & (iou == iou.max(axis=0)) & (iou > 0)
    objects = np.where(class_ids > 0, iou, -1.0)
    best = objects.max(axis=1)
    labels = np.where(best >= high, POSITIVE, np.where(best < low, NEGATIVE, IGNORED))
    forgiven = (iou >= low) | is_best | (shared > 0.5 * area[:, None])
    labels[(labels == NEGATIVE) & (forgiven & (class_ids < 0)).any(axis=1)] = IGNORED
    labels[(is_best & (class_ids > 0)).any(axis=1)] = POSITIVE
    return objects.argmax(axis=1), labels


@pytest.mark.parametrize("rule", RULES)
def test_what_is_no_negative_of_an_object_is_none_of_the_same_object_when_it_is_ignored(rule):
    rng = np.random.default_rng(0)
    for _ in range(50):
        boxes, regions = random_boxes(rng, 60), random_boxes(rng, 6)
        _, as_objects = match_one(boxes, regions, [1, 2, 3, 3, 2, 1], **rule)
        _, without = match_one(boxes, regions[:3], [1, 2, 3], **rule)
        _, labels = match_one(boxes, regions, [1, 2, 3, -1, -1, -1], **rule)
        assert not ((as_objects != NEGATIVE) & (labels == NEGATIVE)).any()
        np.testing.assert_array_equal(labels == POSITIVE, without == POSITIVE)


@pytest.mark.parametrize("rule", RULES)
def test_an_ignored_region_makes_nothing_positive(rule):
    rng = np.random.default_rng(1)
    for _ in range(20):
        boxes, regions = random_boxes(rng, 60), random_boxes(rng, 6)
        indices, labels = match_one(boxes, regions, [-1] * 6, **rule)
        assert set(labels) <= {NEGATIVE, IGNORED}
        assert not indices.any()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_objects, num_regions", [(100, 100), (64, 64), (65, 200), (3, 300), (0, 150)])
def test_any_number_of_regions_is_matched_as_if_all_at_once(rule, num_objects, num_regions):
    rng = np.random.default_rng(2)
    boxes, regions = random_boxes(rng, 150), random_boxes(rng, num_regions)
    class_ids = np.where(np.arange(num_regions) < num_objects, 1, -1)
    indices, labels = match_one(boxes, regions, class_ids, **rule)
    expected_indices, expected_labels = expected_match(boxes, regions, class_ids, **rule)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("regions_at_once", [1, 7, 64, 1000])
def test_the_memory_budget_changes_nothing(regions_at_once, monkeypatch):
    monkeypatch.setattr(matching, "MAX_BYTES", regions_at_once * 4 * 2 * 150)
    rng = np.random.default_rng(3)
    boxes, regions = random_boxes(rng, 1, 150), random_boxes(rng, 2, 90)
    class_ids = rng.choice([-1, 1, 2], [2, 90])
    class_ids[:, 80:] = 0
    arguments = (boxes[0], *(tf.constant(x) for x in (regions, class_ids.astype("int32"))))
    indices, labels = match(arguments[0][None], *arguments[1:], **ANCHOR_RULE)
    for image in range(2):
        used = class_ids[image] != 0
        places = np.flatnonzero(used)
        expected, expected_labels = expected_match(
            boxes[0], regions[image][used], class_ids[image][used], **ANCHOR_RULE
        )
        has_object = expected_labels == POSITIVE
        np.testing.assert_array_equal(labels[image], expected_labels)
        np.testing.assert_array_equal(indices[image][has_object], places[expected][has_object])


PEAK_OF_MATCHING = """
import re
import numpy as np
import tensorflow as tf
from mask_rcnn.ops.matching import match

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

def random_boxes(*shape):
    corners = rng.uniform(0, 800, (*shape, 2)).astype("f")
    return np.concatenate([corners, corners + rng.uniform(8, 200, (*shape, 2)).astype("f")], axis=-1)

rng = np.random.default_rng(0)
run = tf.function(lambda *inputs: match(*inputs, (0.3, 0.7), keep_best=True))
run(random_boxes(1, 100), random_boxes(16, 100), np.ones([16, 100], "int32"))
inputs = random_boxes(1, 268_000), random_boxes(16, 100), np.ones([16, 100], "int32")
before = peak()
run(*inputs)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak memory is read from Linux")
def test_matching_a_large_batch_takes_little_memory():
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_MATCHING], capture_output=True, text=True, timeout=170, check=True
    )
    megabytes = int(done.stdout.split()[-1])
    assert megabytes < 600  # one array of all pairs needs 1636 MB
