"""Reads files of `torch.save` without PyTorch: zip archives (since 1.6), and the older format of pickles."""

import struct
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

from mask_rcnn.model_zoo.readers.stand_ins import Storage
from mask_rcnn.model_zoo.readers.unpickle import state_dict_of, unpickler
from mask_rcnn.model_zoo.readers.zip_files import read_member

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
MAX_PICKLE = 64 << 20  # bytes of a pickle without its storages; that of a large model has 200 kB


def pickle_name(names: Sequence[str]) -> str | None:
    """Returns the name of the pickle in a zip archive of torch, or None if it is another archive.

    Args:
        names: List of the member names of the archive.
    """
    return next((name for name in names if name.endswith("/data.pkl")), None)


def read_zip(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, np.ndarray]:
    """Returns the state dict `{name: array}` of an archive.

    The archive contains the pickle `NAME/data.pkl`, and each storage as `NAME/data/KEY`.

    Args:
        archive: Open `zipfile.ZipFile`, checked by `open_zip`.
        max_bytes: Maximum size of all arrays together, bytes.

    Raises:
        ValueError: If it is not an archive of torch, or it is damaged or too large.
    """
    name = pickle_name(archive.namelist())
    if name is None:
        raise ValueError("it is not an archive of `torch.save`: the file data.pkl is missing")
    prefix = name.removesuffix("data.pkl")
    if f"{prefix}byteorder" in archive.namelist():
        _check_little_endian(read_member(archive, f"{prefix}byteorder", 16) == b"little")
    storages = _Storages(
        lambda key: lambda size: read_member(archive, f"{prefix}data/{key}", size, expected_size=size)
    )
    buffer = memoryview(read_member(archive, f"{prefix}data.pkl", MAX_PICKLE))
    return state_dict_of(unpickler(buffer, storages).load(), max_bytes)


def read_legacy(buffer: memoryview, max_bytes: int) -> dict[str, np.ndarray]:
    """Returns the state dict `{name: array}` of the older format.

    The pickle of the magic number is followed by four pickles: version, facts about the machine, object, and
    keys of its storages. Then each key has the number of values, int64, and the values.

    Args:
        buffer: memoryview of the file.
        max_bytes: Maximum size of all arrays together, bytes.
    """
    starts: dict[str, int] = {}
    storages = _Storages(lambda key: lambda size: _slice(buffer, starts[key], size))
    pickles = unpickler(buffer, storages)
    _, _, machine, tree, keys = (pickles.load() for _ in range(5))
    _check_little_endian(isinstance(machine, dict) and machine.get("little_endian") is True)
    if not isinstance(keys, list) or not all(type(key) is str and key in storages.by_key for key in keys):
        raise ValueError("its list of storages is invalid")
    position = pickles.position
    for key in keys:
        (numel,) = struct.unpack("<q", _slice(buffer, position, 8))
        storage = storages.by_key[key]
        if numel != storage.numel:
            raise ValueError(f"a storage has {numel} numbers instead of {storage.numel}")
        starts[key] = position + 8
        position += 8 + storage.nbytes
    return state_dict_of(tree, max_bytes)


class _Storages:
    """Creates one `Storage` per key, which several tensors may share.

    Args:
        reader_of: Function of the key of a storage that returns the `read_bytes` of the storage.
    """

    def __init__(self, reader_of: Callable[[str], Callable[[int], bytes | memoryview]]):
        self.reader_of = reader_of
        self.by_key: dict[str, Storage] = {}

    def __call__(
        self, storage_type: str, key: str, location: object, numel: int, view: object = None
    ) -> Storage:
        if view is not None:
            raise ValueError("its storages are views of each other, as PyTorch wrote them before 0.4")
        storage = Storage(storage_type, numel, self.reader_of(key))
        known = self.by_key.setdefault(key, storage)
        if (known.storage_type, known.numel) != (storage_type, numel):
            raise ValueError("a storage has two types or sizes")
        return known


def _check_little_endian(is_little: bool) -> None:
    if not is_little:
        raise ValueError("it was written on a big-endian machine")


def _slice(buffer: memoryview, start: int, size: int) -> memoryview:
    if start + size > len(buffer):
        raise EOFError(f"{size} bytes are declared, {max(0, len(buffer) - start)} are left")
    return buffer[start : start + size]
