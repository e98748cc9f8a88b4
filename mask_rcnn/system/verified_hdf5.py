"""HDF5 files with a checksum. A damaged file is rejected before it is parsed.

HDF5 ignores a user block at the start of a file. Here it contains the name of the format and the SHA-256 hash
of the rest of the file. Every HDF5 program can read such a file.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.hdf5 import check_regular_file
from mask_rcnn.system.paths import AnyPath, local_path

USER_BLOCK = 512  # bytes, the smallest size that HDF5 allows


def write_verified(
    path: AnyPath,
    file_format: str,
    *,
    texts: Mapping[str, str],
    arrays: Mapping[str, Any],
    read: Callable[[str, Any], np.ndarray] = lambda name, array: np.asarray(array),
) -> None:
    """Writes an HDF5 file with a checksum, as an atomic write.

    Args:
        path: Path of the file.
        file_format: Name and version of the format, ASCII.
        texts: `{name: str}`, stored as attributes.
        arrays: `{"group/name": array or variable}`.
        read: Function of a name and its array or variable that returns the array to store. It is called for
            one array at a time. Defaults to a conversion by `np.asarray`.
    """
    num_bytes = sum(math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in arrays.values())
    with atomic_write(path, num_bytes) as partial:
        with h5py.File(partial, "w", userblock_size=USER_BLOCK) as file:
            for name, text in texts.items():
                file.attrs[name] = text
            for name, array in arrays.items():
                file[name] = read(name, array)
        with open(partial, "r+b") as file:
            label = _label(file_format, file)
            file.seek(0)
            file.write(label)


def verify(path: AnyPath, file_format: str, description: str) -> None:
    """Raises an error unless `path` is an undamaged file of `write_verified`.

    Args:
        path: Path of the file.
        file_format: The expected format.
        description: Description of the expected file for the messages, such as "weights file".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has another format or is damaged.
    """
    path = local_path(path)
    check_regular_file(path, description)
    with open(path, "rb") as file:
        header = file.read(USER_BLOCK)
        if not header.startswith(file_format.encode("ascii") + b"\n"):
            raise ValueError(
                f"Expected a {description} of format {file_format!r}. Received: {path}, "
                f"{path.stat().st_size} bytes that begin with {header[: len(file_format)]!r}. It is damaged, "
                "of another version or of another program. To convert weights of other systems, use "
                "`mask-rcnn models convert`."
            )
        if header != _label(file_format, file):
            raise ValueError(
                f"Expected an undamaged {description}. Received: {path}, {path.stat().st_size} bytes with "
                "another checksum: the file is damaged. Copy or save it again."
            )


def _label(file_format, file):
    """Returns the user block for an open file: the format, and the checksum of the rest of the file."""
    file.seek(USER_BLOCK)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{file_format}\nsha256 {digest}\n".encode("ascii").ljust(USER_BLOCK, b"\0")
