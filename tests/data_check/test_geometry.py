"""Compares sweeps over intervals, polygons and hashes with hand-made cases and slow references."""

import itertools

import numpy as np
import pytest

from mask_rcnn.config import AnchorConfig
from mask_rcnn.data.annotation_table import make_table
from mask_rcnn.data_check.anchor_fit import anchor_ious, fit_anchors
from mask_rcnn.data_check.decoded_images import decode_images
from mask_rcnn.data_check.geometry import duplicate_pairs
from mask_rcnn.data_check.overlapping_intervals import overlapping_intervals
from mask_rcnn.data_check.polygons import crossing_polygons, polygon_areas, polygon_bounds
from mask_rcnn.data_check.same_images import MAX_BITS, similar_pairs


def table(polygons, boxes=None):
    """Returns a table with one annotation per polygon, all of one image and class."""
    count = len(polygons)
    return make_table(
        ids=list(range(1, count + 1)),
        images=[0] * count,
        class_ids=[1] * count,
        boxes=boxes or [[0, 0, 1, 1]] * count,
        areas=[1] * count,
        crowd=[0] * count,
        polygons=[[polygon] for polygon in polygons],
        runs=[b""] * count,
        keypoints=[[]] * count,
    )


def test_overlapping_pairs_are_those_of_a_double_loop():
    random = np.random.default_rng(0)
    low = random.integers(0, 50, 60)
    high, groups = low + random.integers(0, 9, 60), random.integers(0, 3, 60)
    found = [pair for i, j in overlapping_intervals(groups, low, high) for pair in zip(i, j, strict=True)]
    expected = {
        frozenset(pair)
        for pair in itertools.combinations(range(60), 2)
        if len(set(groups[list(pair)])) == 1 and max(low[list(pair)]) <= min(high[list(pair)])
    }
    assert {frozenset(pair) for pair in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("polygon", "share"),
    [
        ([0, 0, 10, 0, 10, 10, 0, 10], None),  # a square
        ([0, 0, 10, 10, 10, 0, 0, 10], 0.5),  # a bow tie of two equal triangles
        ([0, 0, 20, 0, 20, 23, 23, 23, 23, 20, 0, 20], 9 / 409),  # a square with a loop of 3 x 3 at a corner
        ([0, 0, 20, 0, 20, 21, 21, 21, 21, 20, 0, 20], None),  # with a loop of 1 x 1, too small to matter
        ([0, 0, 5, 5, 10, 0, 10, 10, 5, 5, 0, 10], None),  # two triangles that share a point
        ([0, 0, 10, 0, 10, 0, 10, 10, 0, 10], None),  # a point twice
        ([0, 0, 10, 0, 4, 0, 10, 10, 0, 10], None),  # an edge that goes back along itself
    ],
)
def test_only_edges_that_cross_are_found(polygon, share):
    square = [100, 100, 110, 100, 110, 110, 100, 110]
    found, shares = crossing_polygons(table([square, polygon, square]))
    assert found.tolist() == ([] if share is None else [1])
    if share:
        np.testing.assert_allclose(shares, [share])


def test_crossings_are_those_of_all_pairs_of_edges():
    random = np.random.default_rng(1)
    polygons = [random.integers(0, 40, 2 * count).tolist() for count in random.integers(4, 8, 80)]
    found, _ = crossing_polygons(table(polygons))
    crossing = {i for i, polygon in enumerate(polygons) if _crosses(np.reshape(polygon, (-1, 2)))}
    assert 20 < len(crossing) < 80
    assert set(found.tolist()) <= crossing
    assert len(found) > 0.9 * len(crossing)  # the others cut off almost nothing


def _crosses(points):
    def turn(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    edges = list(zip(points, np.roll(points, -1, axis=0), strict=True))
    return any(
        turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
        for (a, b), (c, d) in itertools.combinations(edges, 2)
    )


def test_bounds_and_areas_of_polygons():
    polygons = table([[1, 2, 5, 2, 5, 4, 1, 4], [0, 0, 6, 0, 0, 8]])
    np.testing.assert_array_equal(polygon_bounds(polygons), [[1, 2, 5, 4], [0, 0, 6, 8]])
    np.testing.assert_array_equal(polygon_areas(polygons), [8, 24])
    assert polygon_bounds(table([])).shape == (0, 4)


def test_duplicates_are_boxes_of_nearly_one():
    boxes = [[0, 0, 100, 100], [1, 0, 100, 100], [5, 5, 100, 100], [0, 0, 100, 100]]  # x, y, width, height
    square = [0, 0, 9, 0, 9, 9]
    earlier, later = duplicate_pairs(table([square] * 4, boxes))
    assert set(zip(earlier.tolist(), later.tolist(), strict=True)) == {(0, 1), (0, 3), (1, 3)}


def test_anchors_lie_on_the_grid_of_their_level():
    boxes = np.array([[0, 0, 16, 16], [8, 8, 24, 24]], "float64")  # centers (8, 8) and (16, 16)
    ious = anchor_ious(boxes, sizes=(16,), ratios=(1.0,), strides=(16,))
    np.testing.assert_allclose(ious.ravel(), [(8 * 8) / (2 * 256 - 64), 1])


def test_anchors_are_fitted_to_sizes_and_ratios():
    random = np.random.default_rng(0)
    centers = random.uniform(100, 700, (400, 2))
    heights = random.choice([20, 160], 400)
    sides = np.stack([heights, heights / 3], axis=1)
    boxes = np.hstack([centers - sides / 2, centers + sides / 2])
    sizes, ratios = fit_anchors(boxes, AnchorConfig(sizes=(64, 512), strides=(4, 16), ratios=(1.0,)))
    assert ratios == (3.0,)
    np.testing.assert_allclose(sizes, [20 / 3**0.5, 160 / 3**0.5], rtol=0.1)


def test_hashes_of_a_few_other_bits_are_compared():
    hashes = np.array([0, 0b11111, 0b111111, 2**63], "uint64")  # 0, 5, 6 and 1 bits
    decoded = decode_images([], 1)
    thumbnails = np.tile(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype="uint8"), (4, 1, 1, 1))
    fields = {
        **vars(decoded),
        "digests": np.array([b"a", b"b", b"c", b"d"], "S16"),
        "hashes": hashes,
        "thumbnails": thumbnails,
        "contrasts": np.full(4, 50, "float32"),
        "orientations": np.ones(4, "uint8"),
    }
    i, j = similar_pairs(type(decoded)(**fields))
    expected = {
        (a, b)
        for a, b in itertools.combinations(range(4), 2)
        if bin(int(hashes[a]) ^ int(hashes[b])).count("1") <= MAX_BITS
    }
    assert {tuple(sorted(pair)) for pair in zip(i.tolist(), j.tolist(), strict=True)} == expected
    assert len(expected) == 3
