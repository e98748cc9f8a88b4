"""Reads every file of a folder with `read_header` and `read_image`, and writes a line of JSON for each.

Run it in a separate process, `python hostile_images_run.py FOLDER`, so that its memory can be measured.
"""

import contextlib
import ctypes
import gc
import json
import pathlib
import sys
import time
import warnings
from unittest import mock

import numpy as np
import tensorflow as tf  # noqa: F401, decodes large files; its libraries must not count as growth
from PIL import Image, ImageOps, PngImagePlugin

from mask_rcnn.data.image_io.images import read_header, read_image

OWN_ERRORS = (ValueError, FileNotFoundError)


def by_pillow(path):
    """Returns a file decoded by Pillow, `[H, W, 3]` uint8, upright, or None if Pillow refuses it."""
    try:
        with Image.open(path) as image:
            image.load()
            with contextlib.suppress(Exception):  # for damaged EXIF data
                image = ImageOps.exif_transpose(image)
            if image.mode == "I;16":
                return np.repeat((np.asarray(image) >> 8).astype("uint8")[..., None], 3, axis=-1)
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


@contextlib.contextmanager
def unlimited():
    """Removes Pillow's limits on pixels and metadata."""
    with (
        mock.patch.object(Image, "MAX_IMAGE_PIXELS", None),
        mock.patch.object(PngImagePlugin, "MAX_TEXT_CHUNK", 1 << 30),
        mock.patch.object(PngImagePlugin, "MAX_TEXT_MEMORY", 1 << 30),
    ):
        yield


def memory(field):
    """Returns a field of the process's status in bytes."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


def reset_peak():
    """Resets the peak memory, and returns the memory in use."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def examine(path):
    """Returns the results of reading a file."""
    declared, before, start = 0, reset_peak(), time.process_time()
    try:
        with warnings.catch_warnings(record=True) as leaked:
            warnings.simplefilter("always")
            header = read_header(path)
            declared = 3 * header.height * header.width
            pixels = read_image(path)
        outcome = "warning" if leaked else "pixels"
        if pixels.shape[:2] != (header.height, header.width):
            outcome = "another size than the header's"
    except Exception as error:
        named = path.name in str(error) and "Received: " in str(error) and "\n" not in str(error)
        outcome = "error" if isinstance(error, OWN_ERRORS) and named else f"traceback {type(error).__name__}"
    seconds, growth = time.process_time() - start, memory("VmHWM") - before
    if outcome == "pixels":
        with warnings.catch_warnings(), unlimited():
            warnings.simplefilter("ignore")
            expected = by_pillow(path)
        if expected is None or not np.array_equal(pixels, expected):
            outcome = "other pixels than Pillow's"
    return {"outcome": outcome, "seconds": seconds, "growth": growth, "declared": declared}


if __name__ == "__main__":
    Image.new("RGB", (4, 4)).save(pathlib.Path(sys.argv[1]) / ".first.png")
    read_image(pathlib.Path(sys.argv[1]) / ".first.png")  # loads libraries, which must not count as growth
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        if not path.name.startswith("."):
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # memory freed by earlier files would hide growth
            print(json.dumps({"name": path.name, **examine(path)}), flush=True)
