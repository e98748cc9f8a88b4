"""Tests of the visible parts of objects: at the edge of the image, and under pasted objects."""

import dataclasses

import numpy as np
import pytest
from transform_samples import SQUARE, done, run_lengths, sample_of

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry, render
from mask_rcnn.data.augmentation.geometric import rotate, rotate_90, shear, vertical_flip
from mask_rcnn.data.augmentation.occlusion import cover
from mask_rcnn.data.augmentation.sample import CROWD, FILL, IGNORE, OBJECT
from mask_rcnn.data.masks import full_mask

FORMS = pytest.mark.parametrize("form", [lambda mask: mask, None], ids=["polygon", "runs"])


def square(form):
    """Returns a sample with a square of x 10 to 30 and y 20 to 40, as a polygon or as RLE."""
    return sample_of([SQUARE if form else run_lengths(full_mask(SQUARE, 60, 80))])


@FORMS
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("visible", "kind"), [(1, IGNORE), (3, OBJECT)])
def test_an_object_with_less_than_a_tenth_visible_is_ignored(form, turned, visible, kind):
    sample = square(form).moved(affine.translation(0, visible - 30), (60, 80))  # of 20 rows
    if turned:  # by 0.0001 radians
        sample = sample.moved(np.array([[1, -1e-4, 0], [1e-4, 1, 0], [0, 0, 1]]), (60, 80))
    found = done(sample)
    assert found.kinds.tolist() == [kind]
    np.testing.assert_allclose(found.output_boxes(), [[20, 0, 40, visible]], atol=0.02)


def test_a_box_without_mask_is_ignored_by_its_visible_area():
    sample = dataclasses.replace(sample_of(), segmentations=(None,))
    kinds = [
        apply_geometry(sample.moved(affine.translation(0, shown - 30), (60, 80))).kinds.tolist()
        for shown in (1, 3)
    ]
    assert kinds == [[IGNORE], [OBJECT]]


def test_a_crowd_at_the_edge_stays_a_crowd():
    sample = dataclasses.replace(sample_of(), kinds=np.array([CROWD], "int8"))
    assert done(sample.moved(affine.translation(0, -29), (60, 80))).kinds.tolist() == [CROWD]


@FORMS
def test_what_turns_out_of_the_image_is_cut_and_what_leaves_it_is_dropped(form):
    corner = sample_of([SQUARE, [[0, 0, 4, 0, 4, 4, 0, 4]]], [(20, 10, 40, 30), (0, 0, 4, 4)])
    if not form:
        runs = tuple(run_lengths(full_mask(each, 60, 80)) for each in corner.segmentations)
        corner = dataclasses.replace(corner, segmentations=runs)
    turn = affine.around((30, 20), np.array([[1, -1], [1, 1]]) / np.sqrt(2))  # 45 degrees around the square
    found = done(corner.moved(affine.translation(-30, 0) @ turn, (60, 80)))  # its lower half remains
    assert found.class_ids.tolist() == [1]
    diagonal = 20 / np.sqrt(2)
    np.testing.assert_allclose(found.output_boxes(), [[0, 20 - diagonal, diagonal, 20 + diagonal]], atol=1.0)


def test_the_corners_of_a_turned_image_have_the_color_of_the_padding():
    white = dataclasses.replace(sample_of(), image=np.full((60, 80, 3), 255, "uint8"))
    turned = done(rotate(white, np.random.default_rng(0), degrees=45.0))
    assert tuple(render(turned, "uint8")[0, 0]) == FILL


def test_quarter_turns_move_each_pixel_to_its_place():
    sample = sample_of()
    shuffled = np.random.default_rng(0).integers(0, 256, (60, 80, 3), "uint8")
    sample = dataclasses.replace(sample, image=shuffled)
    seen = set()
    for seed in range(12):
        found = done(rotate_90(sample, np.random.default_rng(seed), probability=1.0))
        (turns,) = (
            turns
            for turns in (1, 2, 3)
            if found.size == np.rot90(shuffled, turns).shape[:2]
            and (render(found, "bilinear") == np.rot90(shuffled, turns)).all()
        )
        expected = np.rot90(full_mask(SQUARE, 60, 80), turns)
        rows, columns = np.nonzero(expected)
        assert found.output_boxes()[0].tolist() == [
            rows.min(),
            columns.min(),
            rows.max() + 1,
            columns.max() + 1,
        ]
        assert found.output_masks(8).all()
        seen.add(turns)
    assert seen == {1, 2, 3}


@pytest.mark.parametrize(
    ("transform", "order"), [(vertical_flip, [0, 2, 1]), (rotate_90, [0, 1, 2]), (shear, [0, 1, 2])]
)
def test_only_a_mirror_image_exchanges_left_and_right(transform, order):
    points = [[[21, 11, 2], [25, 12, 2], [26, 20, 1]]]  # nose, left eye, right eye
    rng = np.random.default_rng(1)
    options = {"degrees": 1.0} if transform is shear else {"probability": 1.0}
    found = done(transform(sample_of(keypoints=points), rng, **options))
    assert found.output_keypoints()[0, :, 2].tolist() == np.array([2, 2, 1])[order].tolist()


@FORMS
def test_covered_objects_are_cut_ignored_or_removed(form):
    sample = square(form)
    for columns, boxes, kinds in (
        (10, [[20, 10, 40, 30]], [OBJECT]),  # beside the object
        (15, [[20, 15, 40, 30]], [OBJECT]),
        (29, [[20, 29, 40, 30]], [IGNORE]),
        (30, np.zeros((0, 4)), []),
    ):
        mask = np.zeros((60, 80), bool)
        mask[:, :columns] = True
        found = cover(sample, mask)
        np.testing.assert_array_equal(found.boxes, boxes)
        assert found.kinds.tolist() == kinds
        for each in found.segmentations:
            np.testing.assert_array_equal(full_mask(each, 60, 80), full_mask(SQUARE, 60, 80) & ~mask)


def test_covered_keypoints_are_known_but_not_visible():
    points = [[[25, 12, 2], [25, 28, 2], [0, 0, 0]]]
    mask = np.zeros((60, 80), bool)
    mask[:, :15] = True
    assert cover(sample_of(keypoints=points), mask).keypoints[0, :, 2].tolist() == [1, 2, 0]


def test_a_box_without_mask_is_removed_only_when_all_of_it_is_covered():
    sample = dataclasses.replace(sample_of(), segmentations=(None,))
    mask = np.zeros((60, 80), bool)
    mask[:, :20] = True
    np.testing.assert_array_equal(cover(sample, mask).boxes, sample.boxes)
    assert not len(cover(sample, np.ones((60, 80), bool)).boxes)
