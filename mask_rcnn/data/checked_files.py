"""Checks many image files at once by threads, and remembers the headers until a file changes."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np

from mask_rcnn.data import reader_cache
from mask_rcnn.data.image_headers import MAX_PIXELS
from mask_rcnn.data.images import read_complete_header

THREADS = 16  # they mostly wait for the disk
PER_TASK = 64  # files
MIN_REMEMBERED = 1000  # files of a folder; fewer are read faster than the cache
NOT_A_FILE = (-1, -1)  # size and time of what cannot be found


class CheckedFile(NamedTuple):
    """What a reader needs to know of an image file that is complete.

    Args:
        height: Pixels, after the EXIF orientation is applied.
        width: Pixels, after the EXIF orientation is applied.
        bits: Per sample, 8 or 16.
    """

    height: int
    width: int
    bits: int


def check_files(paths, folder, max_pixels=MAX_PIXELS):
    """Returns a `CheckedFile`, or the ValueError or OSError that says what is wrong, of each image file.

    A file whose path, size and time of change (in ns) are those of an earlier check is not read again.

    Args:
        paths: Paths of the files.
        folder: Folder of the images, under which the results are remembered.
        max_pixels: Largest height times width of an image. Defaults to `MAX_PIXELS`.
    """
    names = [str(path) for path in paths]
    is_remembered = len(names) >= MIN_REMEMBERED
    key = f"{hashlib.sha256(os.path.abspath(folder).encode('utf-8', 'replace')).hexdigest()}-"
    key += str(reader_cache.READER_VERSION)
    known = _load(key) if is_remembered else {}
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [names[start : start + PER_TASK] for start in range(0, len(names), PER_TASK)]
        tasks = pool.map(lambda part: [_check(name, known, max_pixels) for name in part], parts)
        found = [result for part in tasks for result in part]
    current = {name: result for name, result in zip(names, found, strict=True) if len(result) == 2}
    if is_remembered and current != known:
        _save(key, current)
    return [result[-1] for result in found]


def _check(name, known, max_pixels):
    """Returns ((size, time), `CheckedFile`) of a file, or (error,)."""
    state = _state(name)
    if name in known and known[name][0] == state:
        header = known[name][1]
        if header.height * header.width <= max_pixels:
            return state, header
    try:
        header = read_complete_header(name, max_pixels)
    except (ValueError, OSError) as error:
        return (error,)
    return state, CheckedFile(header.height, header.width, header.bits)


def _state(name):
    """Returns (size, time of change in ns) of a file."""
    try:
        stat = os.stat(name)
    except (OSError, ValueError):
        return NOT_A_FILE
    return stat.st_size, stat.st_mtime_ns


def _load(key):
    arrays = reader_cache.load("headers", key)
    if arrays is None:
        return {}
    names = msgspec.json.decode(arrays["names"].tobytes())
    rows = arrays["numbers"].tolist()
    return {
        name: ((size, time), CheckedFile(*header))
        for name, (size, time, *header) in zip(names, rows, strict=True)
    }


def _save(key, checked):
    names = [name for name in checked if name.isprintable()]  # a name may have bytes outside of UTF-8
    numbers = [(*checked[name][0], *checked[name][1]) for name in names]
    arrays = {
        "names": np.frombuffer(msgspec.json.encode(names), "uint8"),
        "numbers": np.array(numbers, "int64").reshape(-1, 5),
    }
    reader_cache.save("headers", key, arrays)
