"""Zip archives, and .npz files in them, whose members are no larger than they are expected to be."""

import ast
import contextlib
import math
import zipfile

import numpy as np

MAX_MEMBERS = 100_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_HEADER = 10_000  # bytes of the header of an .npy file, as in NumPy


@contextlib.contextmanager
def open_zip(path):
    """Opens an archive of uncompressed or deflated members, each of another name.

    Args:
        path: The file.

    Yields:
        `zipfile.ZipFile`.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS or len({member.filename for member in members}) != len(members):
            raise ValueError("it has too many members, or two of one name")
        if any(member.compress_type not in METHODS for member in members):
            raise ValueError("it is compressed by something else than deflate")
        yield archive


def read_member(archive, name, max_bytes, expected=None):
    """Returns the bytes of a member; they are decompressed only if their declared size is as expected.

    Args:
        archive: `zipfile.ZipFile`. It stops at the declared size, and checks the CRC-32 of what it read.
        name: Name of the member.
        max_bytes: Limit of its size.
        expected: Its exact size. Defaults to any.
    """
    declared = archive.getinfo(name).file_size
    if declared > max_bytes or expected not in (None, declared):
        raise ValueError(f"the member {name[:80]!r} has {declared} bytes instead of {max_bytes}")
    content = archive.read(name)
    if len(content) != declared:
        raise ValueError(f"the member {name[:80]!r} has {len(content)} bytes instead of {declared}")
    return content


def read_npz(archive, max_bytes):
    """Returns `{name: array}` of an .npz archive.

    Args:
        archive: Open `zipfile.ZipFile`, checked by `open_zip`.
        max_bytes: Limit for all arrays together, checked before the first is read.
    """
    names = archive.namelist()
    total = sum(archive.getinfo(name).file_size for name in names)
    if total > max_bytes:
        raise ValueError(f"its members take {total} bytes, at most {max_bytes} are expected")
    return {name.removesuffix(".npy"): _read_npy(archive, name) for name in names}


def _read_npy(archive, name):
    """Returns the array of a member, whose header must agree with its size (NumPy's format 1.0 to 3.0)."""
    content = read_member(archive, name, archive.getinfo(name).file_size)
    if content[:6] != b"\x93NUMPY" or len(content) < 12 or content[6] not in (1, 2, 3):
        raise ValueError(f"the member {name[:80]!r} is no array of NumPy's")
    length_bytes = 2 if content[6] == 1 else 4
    start = 8 + length_bytes
    length = int.from_bytes(content[8:start], "little")
    if length > MAX_HEADER:
        raise ValueError(f"the header of {name[:80]!r} has {length} bytes")
    shape, dtype, is_fortran = _parse_header(content[start : start + length].decode("utf-8"))
    if len(content) - start - length != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the array {name[:80]!r} has another size than its header says")
    array = np.frombuffer(content, dtype, offset=start + length)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _parse_header(text):
    header = ast.literal_eval(text)
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("the header of an array is wrong")
    descr, shape = header["descr"], header["shape"]
    if not isinstance(descr, str) or not isinstance(shape, tuple) or len(shape) > 8:
        raise ValueError("the header of an array is wrong")
    dtype = np.dtype(descr)
    if dtype.kind not in "biuf" or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"arrays of dtype {descr[:20]!r} are no weights, or a side is negative")
    return shape, dtype, header["fortran_order"] is True
