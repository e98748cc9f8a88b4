"""Tests that HDF5 files with external references, or with sizes above those stored, are refused unread."""

import os

import h5py
import numpy as np
import pytest

from mask_rcnn.system.hdf5 import read_hdf5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2, 2)},
        {"fletcher32": True},
    ],
)
def test_arrays_are_read_however_they_are_stored(path, options):
    array = np.arange(15, dtype="float32").reshape(3, 5)
    with h5py.File(path, "w") as file:
        file.create_dataset("group/array", data=array, **options)
        file["scalar"] = np.float64(2.5)
    found = read_hdf5(path, max_bytes=1000)
    np.testing.assert_array_equal(found["group/array"], array, strict=True)
    assert found["scalar"] == 2.5 and found["scalar"].shape == ()


def test_the_layout_is_checked_before_the_first_array_is_read(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((3, 4), "float32")

    def check(found):
        assert found == {"a": ((3, 4), np.dtype("float32"))}
        raise KeyError("does not fit")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    with pytest.raises(KeyError, match="does not fit"):
        read_hdf5(path, check)


@pytest.mark.parametrize(
    "compression, message", [("lzf", "another compression than gzip"), (None, "all of its 4")]
)
def test_other_filters_and_missing_chunks_are_refused(path, compression, message):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", (4, 4), "f4", chunks=(2, 2), compression=compression)
        if compression:
            dataset[:] = 1
    with pytest.raises(ValueError, match=rf"a\.h5.*{message}"):
        read_hdf5(path)


def test_the_limit_is_for_all_arrays_together(path):
    with h5py.File(path, "w") as file:
        for name in "abc":
            file.create_dataset(name, data=np.zeros(1000, "float32"), compression="gzip")
    assert len(read_hdf5(path, max_bytes=12_000)) == 3
    with pytest.raises(ValueError, match="take 12000 bytes, at most 11999"):
        read_hdf5(path, max_bytes=11_999)


def test_a_pipe_is_refused_instead_of_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ValueError, match="a device, pipe or socket"):
        read_hdf5(path)
