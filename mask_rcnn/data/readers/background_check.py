"""Checks the image files of a folder in a second process while this process reads the json."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mask_rcnn.data.image_io import checked_files
from mask_rcnn.system.paths import RemotePath, is_remote

# Minimum bytes of json per file in the folder. COCO has 3800. With fewer bytes, the json may name only some
# of the files, and checking the others would waste time.
MIN_BYTES = 1000


@contextlib.contextmanager
def checking_ahead(
    annotations_path: str | Path | RemotePath, folder: Path | RemotePath, max_pixels: int
) -> Iterator[None]:
    """Context manager that checks image files in the background, so that `check_files` finds cached results.

    This only pays for the first read of a large folder. Errors of files are ignored here, because
    `check_files` finds them again.

    Args:
        annotations_path: Path of the json.
        folder: Folder of the images.
        max_pixels: As in `check_files`.
    """
    if isinstance(folder, RemotePath) or not _is_worth_it(annotations_path, folder):
        yield
        return
    command = [sys.executable, "-m", __name__, os.fspath(folder), str(max_pixels)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:  # no memory, or processes are not allowed: `check_files` reads all files
        yield
        return
    try:
        yield
        process.wait()
    finally:
        process.kill()
        process.wait()


def _is_worth_it(annotations_path, folder):
    if (os.cpu_count() or 1) < 2 or not sys.executable or is_remote(annotations_path):
        return False
    if checked_files.is_remembered(folder):
        return False
    try:
        num_bytes = os.path.getsize(annotations_path)
        num_files = sum(1 for _ in os.scandir(folder)) if num_bytes else 0
    except OSError:  # the reader reports the error
        return False
    return checked_files.MIN_REMEMBERED <= num_files <= num_bytes / MIN_BYTES


def main(folder: str, max_pixels: str) -> None:
    """Checks all files of a folder that are not hidden. The arguments are those of the command line.

    Args:
        folder: Path of the folder.
        max_pixels: As in `check_files`, as text.
    """
    paths = [Path(folder) / entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    checked_files.check_files(paths, folder, max_pixels=int(max_pixels))


if __name__ == "__main__":
    main(*sys.argv[1:])
