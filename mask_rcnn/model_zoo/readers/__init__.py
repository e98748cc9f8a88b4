"""Reads checkpoints of other systems as `{name: array}`, without PyTorch and without running pickled code."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import safetensors

from mask_rcnn import weights
from mask_rcnn.model_zoo.readers import torch_files, unpickle, zip_files
from mask_rcnn.model_zoo.readers.bfloat16 import BFLOAT16, widen
from mask_rcnn.model_zoo.readers.stand_ins import UnsafePickleError
from mask_rcnn.model_zoo.readers.unpickle import NESTS, NoArraysError
from mask_rcnn.system.hdf5 import check_regular_file, read_hdf5
from mask_rcnn.system.paths import RemotePath, local_path

FORMATS = "PyTorch .pth or .pt, detectron2 .pkl, .npz, .safetensors or Keras .h5"

# Bytes, a billion float32 weights. The limit of a checkpoint if its model is not known.
MAX_BYTES = 4 << 30
# A checkpoint of a known model may be in float64 (factor) and have a few more layers (bytes).
SLACK_FACTOR, SLACK_BYTES = 2, 256 << 20
FILE_FACTOR = 2  # a file may also contain the optimizer state, so it may be larger than the arrays
MAX_ARRAYS = 20_000
MAX_NAME = 1000  # characters

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


def bytes_for(shapes: Iterable[Sequence[int]]) -> int:
    """Returns the maximum total size of the arrays of a checkpoint of a known model, bytes.

    Args:
        shapes: Iterable of the shapes of the model's variables.
    """
    return SLACK_FACTOR * sum(4 * math.prod(shape) for shape in shapes) + SLACK_BYTES


def read_state_dict(path: str | Path | RemotePath, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint, with the names and layout of the system that wrote it.

    The format is detected from the contents, not from the file name. A pickle may contain only arrays. If it
    refers to anything else, it is rejected and none of its code is run. The total size of the arrays (of the
    file for .safetensors) is checked before any array is read.

    Args:
        path: Path of a PyTorch .pth or .pt, detectron2 .pkl, .npz, .safetensors or .h5 file, or of a weights
            file of this package. PyTorch files may be zip archives or have the older format. Their state dict
            may be under a key such as "model" or "state_dict". Arrays of .h5 files are named by their paths.
        max_bytes: Maximum size of all arrays together, bytes; for a known model, `bytes_for`. Defaults to
            4 GiB.

    Returns:
        `{name: np.ndarray}`, real numbers. bfloat16 becomes float32. The arrays may be read-only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the format is unknown, or the file is damaged, too large or without arrays of numbers.
            The subclass UnsafePickleError means that a pickle refers to something other than arrays.
    """
    path = local_path(path)
    check_regular_file(path, "checkpoint")
    reader = _reader(path)
    try:
        arrays = reader(path, max_bytes)
        _check_names(arrays)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"Expected a checkpoint of arrays only. Received: {path}, which refers to {error}. "
            "Nothing of it was run. If the file is your own, save only its state dict: "
            "`torch.save(model.state_dict(), path)`. If you do not trust its source, delete it."
        ) from None
    except NoArraysError as error:
        raise ValueError(
            f"Expected a dict of arrays, at the top or under one of {', '.join(NESTS)}. "
            f"Received: {path}, which contains {error}. Save the state dict itself."
        ) from None
    except Exception as error:  # damaged files raise many types of exceptions
        raise ValueError(
            f"Expected a complete checkpoint. Received: {path}, {path.stat().st_size} bytes, "
            f"which is truncated or damaged ({type(error).__name__}: {str(error)[:300]}). Download it again."
        ) from error
    if not arrays:
        raise ValueError(
            f"Expected a checkpoint with arrays. Received: {path}, which contains none. "
            "Choose another file, or save the state dict."
        )
    return arrays


def _check_names(arrays: dict[str, np.ndarray]) -> None:
    if len(arrays) > MAX_ARRAYS or any(len(name) > MAX_NAME for name in arrays):
        raise ValueError(f"more than {MAX_ARRAYS} arrays, or a name of more than {MAX_NAME} characters")


def _reader(path: Path) -> Callable[[Path, int], dict[str, np.ndarray]]:
    """Returns the function of (path, maximum bytes) that reads the format of a file."""
    with open(path, "rb") as file:
        start = file.read(len(weights.FORMAT))
    if start == weights.FORMAT.encode("ascii"):
        return lambda path, max_bytes: weights.read_arrays(path)
    if start.startswith(b"PK\x03\x04"):
        return _read_zip
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return lambda path, max_bytes: read_hdf5(path, max_bytes=max_bytes)
    if start.startswith(b"\x80"):
        return _read_pickle
    if start[8:9] == b"{":  # after the 8 bytes of the header's length
        return _read_safetensors
    raise ValueError(
        f"Expected a checkpoint: {FORMATS}. "
        f"Received: {path}, {path.stat().st_size} bytes that begin with {start[:9]!r}. "
        "It may be a web page or a Git LFS pointer that was saved under this name. Download the file itself."
    )


def _read_zip(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    with zip_files.open_zip(path) as archive:
        if torch_files.pickle_name(archive.namelist()):
            return torch_files.read_zip(archive, max_bytes)
        return zip_files.read_npz(archive, max_bytes)


def _read_pickle(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    buffer = memoryview(_read_bytes(path, max_bytes))
    first = unpickle.unpickler(buffer).load()
    if type(first) is int and first == torch_files.LEGACY_MAGIC:
        return torch_files.read_legacy(buffer, max_bytes)
    return unpickle.state_dict_of(first, max_bytes)


def _read_safetensors(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    return {
        name: widen(
            np.frombuffer(tensor["data"], SAFETENSORS_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        )
        for name, tensor in safetensors.deserialize(_read_bytes(path, max_bytes))
    }


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    """Returns the contents of a file. Rejects files larger than `FILE_FACTOR` * `max_bytes`."""
    size = path.stat().st_size
    if size > FILE_FACTOR * max_bytes:
        raise ValueError(f"it has {size} bytes, at most {FILE_FACTOR * max_bytes} are allowed")
    return path.read_bytes()
