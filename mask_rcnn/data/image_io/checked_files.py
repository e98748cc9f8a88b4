"""Checks many image files, with threads if the disk is slow, and caches their headers until they change."""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from mask_rcnn.data import reader_cache
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.data.image_io.images import read_complete_header
from mask_rcnn.system.paths import RemotePath, is_remote

THREADS = 16  # for a slow disk; with a fast disk, threads would only wait for Python's global lock
MIN_WAIT = 0.5  # threads are used if the first files spent this fraction of their time waiting for the disk
PER_TASK = 64  # files
MIN_REMEMBERED = 1000  # files in a folder; fewer files are read faster than the cache
NOT_A_FILE = (-1, -1)  # size and time of a file that does not exist


class CheckedFile(NamedTuple):
    """Size and bit depth of a complete image file.

    Args:
        height: Height in pixels, after the EXIF orientation is applied.
        width: Width in pixels, after the EXIF orientation is applied.
        bits: Bits per sample, 8 or 16.
    """

    height: int
    width: int
    bits: int


def check_files(
    paths: Iterable[Path | RemotePath],
    folder: str | Path | RemotePath,
    *,
    max_pixels: int = MAX_PIXELS,
    channels: int = 3,
) -> list[CheckedFile | ValueError | OSError]:
    """Returns a list with a `CheckedFile`, or the ValueError or OSError of a bad file, for each image file.

    A file with the same path, size and modification time (in ns) as in an earlier check is not read again.

    Args:
        paths: Paths of the files.
        folder: Folder of the images, the key of the cache.
        max_pixels: Maximum height times width of an image. Defaults to `MAX_PIXELS`.
        channels: Number of channels of all images, as in `read_image`. Defaults to 3.
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
    results = _check_all([name for name, _ in new], max_pixels, channels)
    errors = {
        name: result for (name, _), result in zip(new, results, strict=True) if isinstance(result, Exception)
    }
    read = {name: (state, result) for (name, state), result in zip(new, results, strict=True)}
    checked |= {name: pair for name, pair in read.items() if name not in errors}
    if is_large and new and checked != known:
        _save(key, checked)
    return [errors[name] if name in errors else checked[name][1] for name in names]


def is_remembered(folder: str | Path | RemotePath) -> bool:
    """Returns whether the cache has results for a folder, or is switched off."""
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
    results = check(names[:PER_TASK])
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    names = names[PER_TASK:]
    if wall - cpu < MIN_WAIT * wall:
        return results + check(names)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [names[start : start + PER_TASK] for start in range(0, len(names), PER_TASK)]
        return results + [result for part in pool.map(check, parts) for result in part]


def _num_pixels(file):
    return file.height * file.width


def _check(name: str, max_pixels: int, channels: int) -> CheckedFile | ValueError | OSError:
    """Returns the `CheckedFile` of a file, or the error why it cannot be used."""
    try:
        header = read_complete_header(name, max_pixels, channels)
    except (ValueError, OSError) as error:
        return error
    return CheckedFile(header.height, header.width, header.bits)


def _state(name):
    """Returns (size, modification time in ns) of a file."""
    try:
        stat = RemotePath(name).stat() if is_remote(name) else os.stat(name)
    except (OSError, ValueError):
        return NOT_A_FILE
    return stat.st_size, stat.st_mtime_ns


def _load(key: str) -> dict[str, tuple[tuple[int, int], CheckedFile]]:
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
    names = [name for name in checked if name.isprintable()]  # a name may contain bytes that are not UTF-8
    numbers = [(*checked[name][0], *checked[name][1]) for name in names]
    arrays = {
        "names": np.frombuffer(msgspec.json.encode(names), "uint8"),
        "numbers": np.array(numbers, "int64").reshape(-1, 5),
    }
    reader_cache.save("headers", key, arrays)
