"""Weights and logs in the folders of runs, and their comparison."""

import h5py
import numpy as np


def read_weights(path):
    """Returns `{name: array}` of a weights file."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    return arrays


def check_run(run, expected):
    """Checks that two runs have the same weights, and logs of the same length."""
    ours, theirs = (read_weights(each / "final.weights.h5") for each in (run, expected))
    assert max(np.abs(ours[name] - theirs[name]).max() for name in theirs) < 1e-5
    lines = [len((each / "log.csv").read_text().splitlines()) for each in (run, expected)]
    assert lines[0] == lines[1]
