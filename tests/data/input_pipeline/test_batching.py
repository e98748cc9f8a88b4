"""Tests of the order of images in batches."""

from types import SimpleNamespace

import numpy as np
import pytest

from mask_rcnn.data.input_pipeline.batching import (
    BatchPlan,
    join_rare_groups,
    repeat_factors,
    shape_groups,
    training_order,
)
from mask_rcnn.data.records import Dataset
from mask_rcnn.structures import Category

REST = {"id": 1, "box": (0, 0, 5, 5), "area": 25, "segmentation": None, "keypoints": ()}
LANDSCAPE, PORTRAIT, PANORAMA, TOWER = (30, 40), (40, 30), (30, 90), (90, 30)


def copies(order):
    """Returns the largest number of times that an image occurs in each batch."""
    return np.array([np.bincount(batch).max() for batch in order])


def test_groups_are_six_shapes_from_tall_to_wide():
    sizes = np.array([(60, 30), (40, 30), (32, 30), (30, 30), (30, 40), (30, 60)])
    np.testing.assert_array_equal(shape_groups(sizes), range(6))


def test_every_image_comes_once_an_epoch():
    order = training_order(np.array([LANDSCAPE] * 6), 2, 6, seed=0)
    assert order.shape == (6, 2)
    for epoch in (order[:3], order[3:]):
        assert sorted(epoch.ravel()) == list(range(6))
    assert (order[:3] != order[3:]).any()


def test_a_batch_never_mixes_landscape_and_portrait_if_there_are_enough_of_both():
    sizes = np.array([LANDSCAPE, PORTRAIT, LANDSCAPE, PORTRAIT, PORTRAIT])
    is_portrait = (sizes[:, 0] > sizes[:, 1])[training_order(sizes, 2, 50, seed=0)]
    assert (is_portrait[:, 0] == is_portrait[:, 1]).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("num_rare", [1, 3, 17])
def test_no_batch_has_an_image_twice_and_all_images_are_equally_frequent(num_rare, batch_size, seed):
    sizes = np.array([LANDSCAPE] * 20 + [PANORAMA] * num_rare + [TOWER] * 2 + [(31, 30)])
    steps = 30 * len(sizes) // batch_size
    order = training_order(sizes, batch_size, steps, seed=seed)
    assert copies(order).max() == 1
    counts = np.bincount(order.ravel(), minlength=len(sizes))
    assert counts.min() >= 28 and counts.max() <= 31


def test_a_rare_shape_waits_for_the_next_epoch_at_most():
    sizes = np.array([LANDSCAPE] * 100 + [PANORAMA])
    places = np.flatnonzero(training_order(sizes, 8, 500, seed=0).ravel() == 100)
    assert np.diff(places).max() < 3 * len(sizes)


def test_rare_shapes_are_in_as_few_batches_as_possible():
    sizes = np.array([LANDSCAPE] * 60 + [PANORAMA] * 4)
    order = training_order(sizes, 8, 80, seed=0)  # ten epochs of eight full batches
    assert np.count_nonzero((order >= 60).any(axis=1)) == 10


def test_a_rare_shape_joins_its_own_kind_first():
    groups = np.repeat([0, 1, 2, 3, 4, 5], [2, 20, 3, 2, 30, 20])
    np.testing.assert_array_equal(
        join_rare_groups(groups, 8), np.repeat([1, 1, 1, 4, 4, 5], [2, 20, 3, 2, 30, 20])
    )
    np.testing.assert_array_equal(join_rare_groups(np.array([0, 5, 5, 5]), 2), [5, 5, 5, 5])
    assert len(set(join_rare_groups(np.array([0, 3, 5]), 8))) == 1


def test_a_data_set_smaller_than_a_batch_is_repeated_evenly():
    np.testing.assert_array_equal(training_order(np.array([LANDSCAPE]), 4, 2, seed=0), np.zeros((2, 4)))
    order = training_order(np.array([LANDSCAPE, PORTRAIT, TOWER]), 8, 30, seed=0)
    counts = np.array([np.bincount(batch, minlength=3) for batch in order])
    assert counts.min() >= 2 and counts.max() <= 4
    np.testing.assert_array_equal(counts.sum(axis=0), [80, 80, 80])


def test_a_longer_run_starts_like_the_shorter_one_and_another_seed_does_not():
    sizes = np.array([LANDSCAPE, PORTRAIT] * 10)
    order = training_order(sizes, 4, 20, seed=1)
    np.testing.assert_array_equal(training_order(sizes, 4, 7, seed=1), order[:7])
    assert (training_order(sizes, 4, 20, seed=2) != order).any()


def make_plan(order):
    order = np.array(order)
    return BatchPlan(order=order, groups=np.zeros(order.max() + 1, int), seed=3)


def test_candidates_are_the_planned_image_and_then_all_others_those_of_the_batch_last():
    plan = make_plan([[4, 0], [1, 3], [2, 5]])
    for step in range(3):
        for place in range(2):
            candidates = list(plan.candidates(step, place))
            assert candidates[0] == plan.order[step, place]
            assert sorted(candidates[1:]) == list(range(6))
            assert set(candidates[-2:]) == set(plan.order[step])
            assert candidates == list(plan.candidates(step, place))
        first, second = (list(plan.candidates(step, place))[1] for place in range(2))
        assert first != second


def test_replacements_have_a_shape_of_the_batch():
    plan = BatchPlan(order=np.array([[0, 2], [0, 3]]), groups=np.array([1, 2, 1, 4, 4]), seed=0)
    assert set(plan.candidates(0, 0)) == {0, 2}
    assert set(plan.candidates(1, 0)) == {0, 2, 3, 4}


def test_images_of_rare_classes_have_the_factor_of_the_rarest_class():
    # Of 100 images, class 1 is in all, class 2 in 4 and class 3 in one; crowd regions do not count.
    def annotations(index):
        ids = [1, *[2] * (3 * (index < 4)), *[3] * (index == 0)]
        found = [SimpleNamespace(class_id=id, crowd=False, **REST) for id in ids]
        return (*found, SimpleNamespace(class_id=3, crowd=True, **REST))

    images = tuple(SimpleNamespace(annotations=annotations(index)) for index in range(100))
    dataset = Dataset("set", tuple(Category(id, str(id)) for id in (1, 2, 3)), images)
    factors = repeat_factors(dataset, 0.09)
    np.testing.assert_allclose(factors[:5], [3.0, 1.5, 1.5, 1.5, 1.0])
    assert (factors[4:] == 1).all()
    assert (repeat_factors(dataset, 0.001) == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_repeated_images_come_as_often_as_their_factor_and_no_batch_has_one_twice(seed):
    repeats = np.array([3.0, 1.5, *[1.0] * 48])
    order = training_order(np.array([LANDSCAPE] * 30 + [PORTRAIT] * 20), 4, 2650, seed=seed, repeats=repeats)
    counts = np.bincount(order.ravel()) / (4 * 2650 / repeats.sum())  # of an epoch
    np.testing.assert_allclose(counts, repeats, rtol=0.05)
    assert np.mean(copies(order) > 1) < 0.01
    np.testing.assert_array_equal(
        order[:500],
        training_order(np.array([LANDSCAPE] * 30 + [PORTRAIT] * 20), 4, 500, seed=seed, repeats=repeats),
    )
