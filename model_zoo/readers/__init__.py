"""Checkpoints of other systems as `{name: array}`, without PyTorch and without running what is in them."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import safetensors

from mask_rcnn.model_zoo.readers import torch_files, unpickle
from mask_rcnn.model_zoo.readers.bfloat16 import BFLOAT16, widen
from mask_rcnn.model_zoo.readers.unpickle import NESTS, NoArraysError, UnsafePickleError

FORMATS = "PyTorch .pth or .pt, detectron2 .pkl, .npz, .safetensors or Keras .h5"

SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read_state_dict(path):
    """Reads the arrays of a checkpoint, in the names and layout of the system that wrote it.

    The format is told from the contents, not from the name of the file. A pickle may only ask for arrays:
    one that asks for anything else is refused before any of it is run.

    Args:
        path: PyTorch .pth or .pt (zip archive, or the older format; the state dict may be under "model" or
            "state_dict"), detectron2 .pkl, .npz, .safetensors, or .h5, whose arrays are named by their path.

    Returns:
        `{name: np.ndarray}`; bfloat16 becomes float32. The arrays may be read-only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of no known format, truncated, holds no arrays, or (UnsafePickleError) asks for
            something that is no array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    reader = _reader(path)
    try:
        arrays = reader(path)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"Expected a checkpoint of arrays only. Received: {path}, which asks for {error}. "
            "Nothing of it was run. If it is your own, save its state dict alone, "
            "`torch.save(model.state_dict(), path)`; if it is a stranger's, delete it."
        ) from None
    except NoArraysError as error:
        raise ValueError(
            f"Expected a dict of arrays, at the top or under one of {', '.join(NESTS)}. "
            f"Received: {path}, which holds {error}. Save the state dict itself."
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(
            f"Expected a whole checkpoint. Received: {path}, {path.stat().st_size} bytes, "
            f"which is truncated or damaged ({type(error).__name__}: {error}). Fetch it again."
        ) from error
    if not arrays:
        raise ValueError(f"Expected a checkpoint with arrays. Received: {path}, which holds none.")
    return arrays


def _reader(path):
    with open(path, "rb") as file:
        start = file.read(9)
    if start.startswith(b"PK\x03\x04"):
        return _read_zip
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_hdf5
    if start.startswith(b"\x80"):
        return _read_pickle
    if start[8:] == b"{":  # behind the length of the header
        return _read_safetensors
    raise ValueError(
        f"Expected a checkpoint: {FORMATS}. "
        f"Received: {path}, {path.stat().st_size} bytes that begin with {start!r}. "
        "A web page or a Git LFS pointer saved under that name looks like this: fetch the file itself."
    )


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if torch_files.pickle_name(names):
        return torch_files.read_zip(path)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_pickle(path):
    with open(path, "rb") as file:
        first = unpickle.unpickle(file)
        if first == torch_files.LEGACY_MAGIC:
            return torch_files.read_legacy(file)
        return unpickle.state_dict_of(first)


def _read_hdf5(path):
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            arrays[name] = np.asarray(item)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return arrays


def _read_safetensors(path):
    return {
        name: widen(
            np.frombuffer(tensor["data"], SAFETENSORS_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        )
        for name, tensor in safetensors.deserialize(path.read_bytes())
    }
