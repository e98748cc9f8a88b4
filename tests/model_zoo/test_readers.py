"""Tests of valid, damaged and malicious checkpoints of every format. torch 2.15 wrote golden/torch_*."""

import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy
from locations import GOLDEN

from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.model_zoo.readers.stand_ins import Storage, Tensor

WEIGHT = np.array([[1, 2, 3], [4, 5, 6]], "float32")


def golden(training):
    with np.load(GOLDEN / "torch.npz") as arrays:
        return {
            name.removeprefix("training/"): arrays[name]
            for name in arrays
            if name.startswith("training/") == training
        }


def assert_same(got, expected):
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize("file", ["torch_zip.pth", "torch_legacy.pth"])
def test_tensors_of_torch_are_read_whatever_their_strides_and_dtype(file):
    assert_same(read_state_dict(GOLDEN / file), golden(training=False))


@pytest.mark.parametrize("file", ["torch_zip_training.pth", "torch_legacy_training.pth"])
def test_a_training_checkpoint_gives_its_model_without_optimizer_and_arguments(file):
    assert_same(read_state_dict(GOLDEN / file), golden(training=True))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_detectron2_pickle_is_read(tmp_path, protocol):
    arrays = {
        "c": WEIGHT,
        "fortran": WEIGHT.T,
        "half": WEIGHT.astype("float16"),
        "big_endian": WEIGHT.astype(">f4"),
        "scalar": np.array(7),
    }
    checkpoint = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(checkpoint, protocol))
    assert_same(read_state_dict(path), arrays)


def test_a_pickle_of_python_2_is_read(tmp_path):
    int8_array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02i1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x02\x07\xfftb"
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02}U\x05blobs}U\x07conv1_w" + int8_array + b"ss.")
    np.testing.assert_array_equal(read_state_dict(path)["conv1_w"], np.array([7, -1], "int8"), strict=True)


@pytest.mark.parametrize("nest", ["model", "state_dict", "model_state_dict", "blobs", None])
def test_the_state_dict_is_found_under_the_usual_names(tmp_path, nest):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({nest: {"w": WEIGHT}, "epoch": 3} if nest else {"w": WEIGHT}))
    assert_same(read_state_dict(path), {"w": WEIGHT})


def test_npz_safetensors_and_hdf5_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", w=WEIGHT)
    safetensors.numpy.save_file({"w": WEIGHT}, tmp_path / "a.safetensors")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["conv1/conv1/kernel:0"] = WEIGHT
    assert_same(read_state_dict(tmp_path / "a.npz"), {"w": WEIGHT})
    assert_same(read_state_dict(tmp_path / "a.safetensors"), {"w": WEIGHT})
    assert_same(read_state_dict(tmp_path / "a.h5"), {"conv1/conv1/kernel:0": WEIGHT})


def test_bfloat16_in_safetensors_becomes_float32(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    # 1.0 is 0x3f80, -2.0 is 0xc000.
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x00\xc0")
    np.testing.assert_array_equal(read_state_dict(path)["w"], np.array([1, -2], "float32"), strict=True)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def write_zip(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


def write_legacy(path, pickled):
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + pickled)


def write_pickle(path, pickled):
    path.write_bytes(pickled)


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_pickle])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, write, protocol):
    touched = tmp_path / "touched"
    path = tmp_path / "model.pth"
    write(path, pickle.dumps({"model": {"w": WEIGHT, "x": Malicious(touched)}}, protocol))
    with pytest.raises(ValueError, match=r"refers to `posix\.system`. Nothing of it was run") as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert not touched.exists()


def test_a_malicious_first_pickle_is_refused(tmp_path):
    touched = tmp_path / "touched"
    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Malicious(touched), 2))
    with pytest.raises(ValueError, match="Nothing of it was run"):
        read_state_dict(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04\x8c\x0bcollections\x8c\x1eOrderedDict.__init__.__class__\x93.",  # a dotted name
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02c__builtin__\neval\n.",
        b"\x80\x02ccodecs\nencode\n.",
    ],
)
def test_names_that_are_not_on_the_list_are_refused(tmp_path, pickled):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickled)
    with pytest.raises(ValueError, match="Expected a checkpoint of arrays only"):
        read_state_dict(path)


@pytest.mark.parametrize("name", ["torch._utils\n_rebuild_tensor_v2", "_codecs\nencode", "numpy\nndarray"])
def test_a_pickle_cannot_alter_the_stand_ins(tmp_path, name):
    read, path = Tensor.read, tmp_path / "model.pkl"
    # BUILD of (None, {"read": 1}), which sets attributes with setattr.
    path.write_bytes(b"\x80\x02c" + name.encode() + b"\nN}X\x04\x00\x00\x00readK\x01s\x86b.")
    with pytest.raises(ValueError, match="Received"):
        read_state_dict(path)
    assert Tensor.read is read


def test_arrays_of_python_objects_are_refused(tmp_path):
    objects = np.array([{}, None], object)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": {"w": objects}}))
    with pytest.raises(ValueError, match="refers to arrays of dtype 'O8'"):
        read_state_dict(tmp_path / "a.pkl")
    np.savez(tmp_path / "a.npz", w=objects)
    with pytest.raises(ValueError, match="the header of an array is wrong|arrays of dtype"):
        read_state_dict(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, (5,), (1,)), (1, (2, 2), (2, 1)), (-1, (2,), (1,)), (3, (2,), (-1,))]
)
def test_a_tensor_that_leaves_its_storage_is_an_error(offset, size, stride):
    storage = Storage("torch.FloatStorage", 4, lambda: bytes(16))
    with pytest.raises(ValueError, match="reaches to number|negative"):
        Tensor(storage, offset, size, stride).read()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pkl", "npz", "safetensors", "h5"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_truncated_file_is_an_error_that_says_so(tmp_path, kind, kept):
    path = tmp_path / f"a.{kind}"
    match kind:
        case "zip" | "legacy":
            path.write_bytes((GOLDEN / f"torch_{kind}.pth").read_bytes())
        case "pkl":
            path.write_bytes(pickle.dumps({"model": {"w": WEIGHT}}))
        case "npz":
            np.savez(path, w=WEIGHT)
        case "safetensors":
            safetensors.numpy.save_file({"w": WEIGHT}, path)
        case "h5":
            with h5py.File(path, "w") as file:
                file["w"] = WEIGHT
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match="is truncated or damaged"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "contents", [b"", b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1"]
)
def test_a_file_that_is_no_checkpoint_is_an_error_that_shows_how_it_begins(tmp_path, contents):
    path = tmp_path / "model.pth"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="detectron2 .pkl.*bytes that begin with"):
        read_state_dict(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint .*model.pth"):
        read_state_dict(tmp_path / "model.pth")


def test_a_checkpoint_without_a_state_dict_names_what_it_holds(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"weights": {"w": WEIGHT}, "epoch": 3}))
    with pytest.raises(ValueError, match="which contains weights, epoch"):
        read_state_dict(path)
