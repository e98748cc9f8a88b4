"""Cache of the readers: keeps parsed data between runs in files of the cache folder.

The name of a file contains the content hash of its source and the version of the reader. Its checksums are
verified when it is read. Files are written atomically. The folder has a size limit: the least recently used
files are deleted first. `MASK_RCNN_DATA_CACHE=off` switches the cache off.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping

import numpy as np
from absl import logging

from mask_rcnn.system.files import atomic_write, cache_home, remove_leftovers

READER_VERSION = 2  # increase it if the cached data change, or the definition of a regular annotation
MIN_BYTES = 4_000_000  # of a json; a smaller file is parsed faster than its cache is read
MAX_BYTES = 4_000_000_000  # size limit of the folder
OFF = ("0", "no", "false", "off")


def content_key(data: bytes) -> str:
    """Returns the cache key of a content: its SHA-256 and the version of the reader."""
    return f"{hashlib.sha256(data).hexdigest()}-{READER_VERSION}"


def is_saved(kind: str, key: str) -> bool:
    """Returns whether the cache has a file for a kind of data, such as "headers", and a key."""
    return _path(kind, key).is_file()


def load(kind: str, key: str) -> dict[str, np.ndarray] | None:
    """Returns a dict of the saved arrays, or None if there are none or they are damaged.

    Args:
        kind: Kind of data, such as "headers": the start of the file name.
        key: Key of the content: the rest of the file name.
    """
    path = _path(kind, key)
    if not is_on() or not path.is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}  # verifies the CRC-32 of each
        if arrays.pop("key").tobytes() != key.encode():
            raise ValueError("it belongs to other content")
    except Exception as error:  # a damaged zip file raises errors of any type
        logging.warning("The cache %s cannot be used (%s): the data is read again.", path, error)
        return None
    with contextlib.suppress(OSError):  # the folder may be read-only
        os.utime(path)
    logging.info("Read from the cache: %s", path)
    return arrays


def save(kind: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Saves arrays. If the folder cannot be written, it only logs a warning.

    Args:
        kind: Kind of data, such as "headers": the start of the file name.
        key: Key of the content: the rest of the file name.
        arrays: Dict from names to arrays.
    """
    if not is_on():
        return
    path = _path(kind, key)
    try:
        with atomic_write(path) as partial:
            # No array is named `allow_pickle`.
            np.savez(partial, key=np.frombuffer(key.encode(), "uint8"), **arrays)  # pyright: ignore[reportArgumentType]
        remove_leftovers(path.parent)
        _remove_oldest(path.parent)
    except OSError as error:
        logging.warning(
            "The cache %s cannot be written (%s): the next start reads the data again.", path, error
        )
    else:
        logging.info("Written to the cache, for the next start: %s", path)


def _path(kind, key):
    return cache_home() / "datasets" / f"{kind}-{key}.npz"


def is_on() -> bool:
    """Returns whether the cache is used."""
    return os.environ.get("MASK_RCNN_DATA_CACHE", "").lower() not in OFF


def _remove_oldest(folder):
    """Deletes the least recently used files until the folder is within `MAX_BYTES`."""
    files = sorted(((path.stat(), path) for path in folder.glob("*.npz")), key=lambda pair: -pair[0].st_mtime)
    total = 0
    for stat, path in files:
        total += stat.st_size
        if total > MAX_BYTES:
            with contextlib.suppress(OSError):  # another process deleted it
                path.unlink()
