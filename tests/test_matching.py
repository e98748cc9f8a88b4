"""Matching: which anchor or RoI stands for which object."""

import numpy as np
import tensorflow as tf

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
    indices, labels = match(boxes, gt_boxes, tf.constant([gt_class_ids]), thresholds, **kwargs)
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
    indices, labels = match(boxes, gt_boxes, tf.constant([[1, 0], [2, 3]]), (0.3, 0.7))
    assert indices.numpy().tolist() == [[0, 0], [0, 1]]
    assert labels.numpy().tolist() == [[POSITIVE, NEGATIVE], [NEGATIVE, POSITIVE]]
