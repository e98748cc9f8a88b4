"""Writes drawn pictures and videos atomically, and never overwrites files of the user."""

import itertools
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mask_rcnn.cli.inputs import is_video
from mask_rcnn.data.image_io.images import read_header
from mask_rcnn.system.files import atomic_write

MARK = "Drawn by mask-rcnn detect."  # comment in every written file
JPEG_QUALITY = 95
PNG_COMPRESSION = 1  # of 9; higher levels hardly reduce the size, and take 5 times as long
# The mark of an mp4 file: a box at its end that players ignore (ISO 14496-12, 8.1.2).
MP4_MARK = struct.pack(">I4s", 8 + len(MARK), b"free") + MARK.encode()


def picture_path(file: Path, out: Path, taken: set[str]) -> Path:
    """Returns the path of the picture for `file`: a name in `out` that is not in use.

    Args:
        file: Path of an image or video.
        out: Folder of the pictures.
        taken: Set of resolved paths that must not be used, such as the inputs. The result is added. Other
            existing files are overwritten only if `detect` wrote them.
    """
    suffix = ".mp4" if is_video(file) else ".png" if file.suffix.lower() == ".png" else ".jpg"
    numbers = itertools.count(2)
    path = out / f"{file.stem}{suffix}"
    while os.path.realpath(path) in taken or (os.path.lexists(path) and not is_drawn(path)):
        path = out / f"{file.stem}-{next(numbers)}{suffix}"
    taken.add(os.path.realpath(path))
    return path


def is_drawn(path: Path) -> bool:
    """Returns whether `detect` wrote a file."""
    try:
        if not is_video(path):
            return read_header(path).comment == MARK
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - len(MP4_MARK), 0))
            return file.read() == MP4_MARK
    except (OSError, ValueError):  # `detect` writes readable files only
        return False


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Writes `[H, W, 3]` uint8 RGB as a JPEG or PNG file, depending on the suffix of `path`."""
    info = PngInfo()
    info.add_text("Comment", MARK)
    png = {"pnginfo": info, "compress_level": PNG_COMPRESSION}
    options = png if path.suffix == ".png" else {"comment": MARK, "quality": JPEG_QUALITY}
    with atomic_write(path) as new:
        Image.fromarray(np.ascontiguousarray(pixels)).save(new, **options)


def mark_video(path: Path) -> None:
    """Marks an mp4 file as written by `detect`."""
    with open(path, "ab") as file:
        file.write(MP4_MARK)
