"""Tests of the positions of tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_rcnn.prediction.tiles import Tiling


def test_tiles_are_spread_evenly_from_border_to_border():
    windows = Tiling(size=40, overlap=0.25).windows((40, 100))
    assert windows.tolist() == [[0, 0, 40, 40], [0, 30, 40, 70], [0, 60, 40, 100]]
    assert Tiling(size=50, overlap=0).windows((100, 50)).tolist() == [[0, 0, 50, 50], [50, 0, 100, 50]]


def test_an_image_that_is_not_larger_is_one_tile():
    assert Tiling(size=64).windows((64, 30)).tolist() == [[0, 0, 64, 30]]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(32, 90), st.floats(0, 0.9))
def test_tiles_cover_the_image_and_overlap_as_much_as_they_should(height, width, size, overlap):
    windows = Tiling(size=size, overlap=overlap).windows((height, width))
    assert (windows[:, 2:] - windows[:, :2] == np.minimum(size, (height, width))).all()
    for axis, length in enumerate((height, width)):
        starts = np.unique(windows[:, axis])
        assert starts[0] == 0 and windows[:, axis + 2].max() == length
        assert (np.diff(starts) <= size - overlap * size).all()
    assert len(np.unique(windows, axis=0)) == len(windows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16}, "32 or more. Received: 16"),
        ({"size": 64.5}, "whole number of pixels.*Received: 64.5"),
        ({"size": 64, "overlap": 20}, "a fraction of their side.*Received: 20. Give 0.2"),
        ({"size": 64, "overlap": -0.1}, "a fraction of their side"),
        ({"size": 64, "overlap": float("nan")}, "a fraction of their side"),
    ],
)
def test_sizes_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Tiling(**options)
