"""What the readers remember between two runs, in files of the cache folder.

A file is keyed by the content that it was made from and by the version of the reader, and its checksums are
compared when it is read. It is written atomically. The folder is bounded: files that were not used for the
longest time are deleted first. `MASK_RCNN_DATA_CACHE=off` switches it off.
"""

import contextlib
import hashlib
import os

import numpy as np
from absl import logging

from mask_rcnn.files import atomic_write, cache_home, remove_leftovers

READER_VERSION = 2  # raised with every change of what is kept or of what counts as a regular annotation
MIN_BYTES = 4_000_000  # of a json; a smaller one is read faster than its cache
MAX_BYTES = 4_000_000_000  # of the folder
OFF = ("0", "no", "false", "off")


def content_key(data):
    """Returns the key of a content: its SHA-256 and the version of the reader."""
    return f"{hashlib.sha256(data).hexdigest()}-{READER_VERSION}"


def is_saved(kind, key):
    """Tells whether there is a file of this key."""
    return _path(kind, key).is_file()


def load(kind, key):
    """Returns the arrays that were saved, a dict, or None if there are none or they are damaged."""
    path = _path(kind, key)
    if not is_on() or not path.is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}  # compares the CRC-32 of each
        if arrays.pop("key").tobytes() != key.encode():
            raise ValueError("it belongs to another content")
    except Exception as error:  # a damaged zip file raises anything
        logging.warning("The cache %s cannot be used (%s): the data is read again.", path, error)
        return None
    with contextlib.suppress(OSError):  # a folder that cannot be written
        os.utime(path)
    logging.info("Read from the cache: %s", path)
    return arrays


def save(kind, key, arrays):
    """Saves a dict of arrays; a folder that cannot be written is reported, and changes nothing else."""
    if not is_on():
        return
    path = _path(kind, key)
    try:
        with atomic_write(path) as partial:
            np.savez(partial, key=np.frombuffer(key.encode(), "uint8"), **arrays)
        remove_leftovers(path.parent)
        _remove_oldest(path.parent)
    except OSError as error:
        logging.warning("The cache %s cannot be written (%s): the next start reads again.", path, error)
    else:
        logging.info("Written to the cache, for the next start: %s", path)


def _path(kind, key):
    return cache_home() / "datasets" / f"{kind}-{key}.npz"


def is_on():
    """Tells whether anything is remembered."""
    return os.environ.get("MASK_RCNN_DATA_CACHE", "").lower() not in OFF


def _remove_oldest(folder):
    """Deletes the files that were not used for the longest time until the folder is within `MAX_BYTES`."""
    files = sorted(((path.stat(), path) for path in folder.glob("*.npz")), key=lambda pair: -pair[0].st_mtime)
    total = 0
    for stat, path in files:
        total += stat.st_size
        if total > MAX_BYTES:
            with contextlib.suppress(OSError):  # another process deleted it
                path.unlink()
