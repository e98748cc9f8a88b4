"""Checks many image files, in threads where the disk is slow, and remembers headers until a file changes."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np

from mask_rcnn.data import reader_cache
from mask_rcnn.data.image_headers import MAX_PIXELS
from mask_rcnn.data.images import read_complete_header
from mask_rcnn.paths import as_path, is_remote

THREADS = 16  # for a disk that is waited for; on a fast one they would wait for the lock of the interpreter
MIN_WAIT = 0.5  # of the time of the first files, for which threads pay
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


def check_files(paths, folder, max_pixels=MAX_PIXELS, channels=3):
    """Returns a `CheckedFile`, or the ValueError or OSError that says what is wrong, of each image file.

    A file whose path, size and time of change (in ns) are those of an earlier check is not read again.

    Args:
        paths: Paths of the files.
        folder: Folder of the images, under which the results are remembered.
        max_pixels: Largest height times width of an image. Defaults to `MAX_PIXELS`.
        channels: Of all images, as in `read_image`. Defaults to 3.
    """
    key = _key(folder, channels)
    names = [str(path) for path in paths]
    is_large = len(names) >= MIN_REMEMBERED
    known = _load(key) if is_large else {}
    states = list(map(_state, names))
    checked = {
        name: known[name]
        for name, state in zip(names, states, strict=True)
        if name in known and known[name][0] == state and _num_pixels(known[name][1]) <= max_pixels
    }
    new = [(name, state) for name, state in zip(names, states, strict=True) if name not in checked]
    found = _check_all([name for name, _ in new], max_pixels, channels)
    errors = {name: result for (name, _), result in zip(new, found, strict=True) if is_error(result)}
    read = {name: (state, result) for (name, state), result in zip(new, found, strict=True)}
    checked |= {name: pair for name, pair in read.items() if name not in errors}
    if is_large and new and checked != known:
        _save(key, checked)
    return [errors[name] if name in errors else checked[name][1] for name in names]


def is_remembered(folder):
    """Tells whether earlier checks of the files of a folder are remembered, or can never be."""
    return not reader_cache.is_on() or reader_cache.is_saved("headers", _key(folder))


def _key(folder, channels=3):
    where = str(folder) if is_remote(folder) else os.path.abspath(folder)
    digest = hashlib.sha256(where.encode("utf-8", "replace")).hexdigest()
    kind = "" if channels == 3 else f"-{channels}"
    return f"{digest}{kind}-{reader_cache.READER_VERSION}"


def _check_all(names, max_pixels, channels):
    """Returns `_check` of each file."""

    def check(names):
        return [_check(name, max_pixels, channels) for name in names]

    wall, cpu = time.perf_counter(), time.thread_time()
    found = check(names[:PER_TASK])
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    names = names[PER_TASK:]
    if wall - cpu < MIN_WAIT * wall:
        return found + check(names)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [names[start : start + PER_TASK] for start in range(0, len(names), PER_TASK)]
        return found + [result for part in pool.map(check, parts) for result in part]


def is_error(result):
    """Tells whether a file of `check_files` cannot be used."""
    return isinstance(result, Exception)


def _num_pixels(file):
    return file.height * file.width


def _check(name, max_pixels, channels):
    """Returns the `CheckedFile` of a file, or the error that says why it cannot be used."""
    try:
        header = read_complete_header(name, max_pixels, channels)
    except (ValueError, OSError) as error:
        return error
    return CheckedFile(header.height, header.width, header.bits)


def _state(name):
    """Returns (size, time of change in ns) of a file."""
    try:
        stat = as_path(name).stat() if is_remote(name) else os.stat(name)
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
