"""Safe reading of zip archives and .npz files: members are decompressed only up to their expected size."""

import ast
import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MAX_MEMBERS = 100_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_HEADER = 10_000  # bytes of the header of an .npy file, as in NumPy


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Context manager that opens a zip archive.

    Args:
        path: Path of the archive.

    Yields:
        `zipfile.ZipFile`.

    Raises:
        ValueError: If it has too many members, two members of the same name, or another compression than
            deflate.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"it has {len(members)} members, and at most {MAX_MEMBERS} are allowed")
        if len({member.filename for member in members}) != len(members):
            raise ValueError("two of its members have the same name")
        if any(member.compress_type not in METHODS for member in members):
            raise ValueError("it uses another compression than deflate")
        yield archive


def read_member(
    archive: zipfile.ZipFile, name: str, max_bytes: int, *, expected_size: int | None = None
) -> bytes:
    """Returns the bytes of a member. Decompresses it only if its declared size is as expected.

    Args:
        archive: `zipfile.ZipFile`. It reads up to the declared size and checks the CRC-32.
        name: Name of the member.
        max_bytes: Maximum size, bytes.
        expected_size: Exact size, bytes. Defaults to None, any size up to `max_bytes`.

    Raises:
        ValueError: If the member has another size.
    """
    declared = archive.getinfo(name).file_size
    if declared > max_bytes or expected_size not in (None, declared):
        raise ValueError(f"the member {name[:80]!r} has {declared} bytes instead of {max_bytes}")
    content = archive.read(name)
    if len(content) != declared:
        raise ValueError(f"the member {name[:80]!r} has {len(content)} bytes instead of {declared}")
    return content


def read_npz(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, np.ndarray]:
    """Returns `{name: array}` of an .npz archive.

    Args:
        archive: Open `zipfile.ZipFile`, checked by `open_zip`.
        max_bytes: Maximum size of all members together, bytes. Checked before an array is read.

    Raises:
        ValueError: If the members are too large, or one is not a valid array of real numbers.
    """
    names = archive.namelist()
    total = sum(archive.getinfo(name).file_size for name in names)
    if total > max_bytes:
        raise ValueError(f"its members take {total} bytes, at most {max_bytes} are allowed")
    return {name.removesuffix(".npy"): _read_npy(archive, name) for name in names}


def _read_npy(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Returns the array of an .npy member (format 1.0 to 3.0) after a check of its header and size."""
    content = read_member(archive, name, archive.getinfo(name).file_size)
    if content[:6] != b"\x93NUMPY" or len(content) < 12 or content[6] not in (1, 2, 3):
        raise ValueError(f"the member {name[:80]!r} is not a NumPy array")
    length_bytes = 2 if content[6] == 1 else 4
    start = 8 + length_bytes
    length = int.from_bytes(content[8:start], "little")
    if length > MAX_HEADER:
        raise ValueError(f"the header of {name[:80]!r} has {length} bytes")
    shape, dtype, is_fortran = _parse_header(content[start : start + length].decode("utf-8"))
    if len(content) - start - length != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the array {name[:80]!r} does not have the size that its header declares")
    array = np.frombuffer(content, dtype, offset=start + length)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _parse_header(text: str) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Returns (shape, dtype, whether the order is Fortran's) of the header of an .npy file."""
    header = ast.literal_eval(text)
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("the header of an array is wrong")
    descr, shape = header["descr"], header["shape"]
    if not isinstance(descr, str) or not isinstance(shape, tuple) or len(shape) > 8:
        raise ValueError("the header of an array is wrong")
    dtype = np.dtype(descr)
    if dtype.kind not in "biuf" or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"arrays of dtype {descr[:20]!r} are not weights, or a side is negative")
    return shape, dtype, header["fortran_order"] is True
