"""Checks the image files of a folder in a second process while this one reads the json that names them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from mask_rcnn.data import checked_files
from mask_rcnn.paths import is_remote

# Bytes of the json for each file of the folder. COCO's has 3800; one with fewer than this may name only some
# of the files, and the others need not be read.
MIN_BYTES = 1000


@contextlib.contextmanager
def checking_ahead(annotations_path, folder, max_pixels):
    """Checks image files while the block runs, so that `check_files` remembers them after it.

    Only the first read of a large folder is worth it. Nothing is reported here: what is wrong with a file is
    found again by `check_files`.

    Args:
        annotations_path: Path of the json.
        folder: Folder of the images.
        max_pixels: As in `check_files`.
    """
    if not _is_worth_it(annotations_path, folder):
        yield
        return
    command = [sys.executable, "-m", __name__, os.fspath(folder), str(max_pixels)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:  # no memory for a process, or none are allowed: `check_files` reads all
        yield
        return
    try:
        yield
        process.wait()
    finally:
        process.kill()
        process.wait()


def _is_worth_it(annotations_path, folder):
    if (os.cpu_count() or 1) < 2 or not sys.executable or is_remote(annotations_path) or is_remote(folder):
        return False
    if checked_files.is_remembered(folder):
        return False
    try:
        num_bytes = os.path.getsize(annotations_path)
        num_files = sum(1 for _ in os.scandir(folder)) if num_bytes else 0
    except OSError:  # the reader says what is wrong
        return False
    return checked_files.MIN_REMEMBERED <= num_files <= num_bytes / MIN_BYTES


def main(folder, max_pixels):
    """Checks all files of a folder that are not hidden."""
    paths = [Path(folder) / entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    checked_files.check_files(paths, folder, int(max_pixels))


if __name__ == "__main__":
    main(*sys.argv[1:])
