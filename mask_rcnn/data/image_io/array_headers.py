"""Reads the headers of files with any number of channels: TIFF and NumPy's .npy.

Sources: TIFF 6.0, sections 2 and 8; Adobe, BigTIFF design; NumPy, `numpy.lib.format`.
"""

import math
import os
import struct
from typing import IO, Any

import numpy as np

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian, then the same for BigTIFF
NPY_START = b"\x93NUMPY"
MAX_PAGES = 256  # pages of a TIFF file
MAX_ENTRIES = 4096  # entries of a directory of a TIFF file

# TIFF tags that are read: name, and the default value of a page without the tag.
TAGS = {
    256: ("width", None),
    257: ("height", None),
    258: ("bits", 1),
    259: ("compression", None),
    262: ("photometric", None),
    274: ("orientation", 1),
    277: ("samples", 1),
    338: ("extra_samples", None),
    339: ("sample_format", 1),
}
INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # unsigned integer types in TIFF, as `struct` formats
UNSIGNED = 1  # sample format of unsigned integers
COLORS: dict[int | None, int] = {
    1: 1,
    2: 3,
}  # samples per pixel by photometric interpretation: 1 is gray, 2 is RGB
YCBCR, JPEG = 6, 7  # photometric interpretation and compression; decoders convert both together to RGB
ALPHA = (1, 2)  # extra samples that are alpha, premultiplied or not


def parse_tiff(file: IO[bytes]) -> dict[str, Any]:
    """Returns the header fields of a TIFF file: a dict with fields of `ImageHeader` and `size`.

    The channels are the samples of all pages, one page after the other.

    Args:
        file: Open binary file.

    Raises:
        ValueError, struct.error: Its pages differ, or do not hold unsigned integers of 8 or 16 bits.
    """
    pages = list(_tiff_pages(file))
    if not pages:
        raise ValueError("it has no page")
    first = pages[0]
    if any(page != first for page in pages):
        raise ValueError(f"its {len(pages)} pages differ in size, bits or samples")
    if first["bits"] not in (8, 16) or first["sample_format"] != UNSIGNED:
        raise ValueError("its samples are not unsigned integers of 8 or 16 bits")
    colors = num_colors(first["photometric"], first["compression"])
    if colors is None:
        raise ValueError(
            f"its photometric interpretation is {first['photometric']}, where 1 (black is zero) or 2 (RGB) "
            "is expected"
        )
    num_alpha = 1 if first["extra_samples"] in ALPHA else 0
    return {
        "format": "TIFF",
        "size": (first["height"], first["width"]),
        "bits": first["bits"],
        "exif": first["orientation"] if 1 <= first["orientation"] <= 8 else None,
        "channels": len(pages) * first["samples"],
        "pages": len(pages),
        "becomes_rgb": len(pages) == 1 and first["samples"] == colors + num_alpha,
    }


def num_colors(photometric: int | None, compression: int | None) -> int | None:
    """Returns how many samples of a TIFF pixel are gray or colors: 1 or 3, or None for an unknown format.

    Args:
        photometric, compression: Values of the tags 262 and 259.
    """
    return 3 if (photometric, compression) == (YCBCR, JPEG) else COLORS.get(photometric)


def parse_npy(file: IO[bytes]) -> dict[str, Any]:
    """Returns the header fields of an .npy file: a dict with fields of `ImageHeader` and `size`.

    Args:
        file: Open binary file.

    Raises:
        ValueError: It is not an array `[H, W]` or `[H, W, C]` of uint8 or uint16, or it is truncated.
    """
    file.seek(0)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an .npy file of version {version}")
    shape, _, dtype = readers[version](file)
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise ValueError(f"an array of {dtype}, where uint8 or uint16 is expected")
    if len(shape) not in (2, 3):
        raise ValueError(f"an array of shape {shape}, where [H, W] or [H, W, C] is expected")
    expected, actual = math.prod(shape) * dtype.itemsize, file.seek(0, os.SEEK_END) - _end_of_header(file)
    if actual < expected:
        raise ValueError(f"it is cut off: {actual} of {expected} bytes of pixels")
    return {
        "format": "NPY",
        "size": shape[:2],
        "bits": 8 * dtype.itemsize,
        "channels": shape[2] if len(shape) == 3 else 1,
        "becomes_rgb": len(shape) == 2,
    }


def _end_of_header(file):
    """Returns the offset of the pixels in an .npy file."""
    file.seek(6)
    major = file.read(2)[0]
    layout = "<H" if major == 1 else "<I"
    (length,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    return file.tell() + length


def _tiff_pages(file):
    """Yields a dict with the values of `TAGS` for each page."""
    file.seek(0)
    start = file.read(4)
    order = "<" if start.startswith(b"II") else ">"
    is_big = start in TIFF_STARTS[2:]
    count, entry, offset, at = ("Q", "HHQ8s", "Q", 8) if is_big else ("H", "HHI4s", "I", 4)
    (at,) = _unpack(file, at, order + offset)
    for _ in range(MAX_PAGES):
        if not at:
            return
        (num_entries,) = _unpack(file, at, order + count)
        if num_entries > MAX_ENTRIES:
            raise ValueError(f"a page with {num_entries} entries")
        at += struct.calcsize(order + count)
        entries = _unpack(file, at, order + num_entries * entry)
        yield _page(file, zip(*(iter(entries),) * 4, strict=True), order=order, offset=offset)
        (at,) = _unpack(file, at + struct.calcsize(order + num_entries * entry), order + offset)
    raise ValueError(f"it has more than {MAX_PAGES} pages")


def _page(file, entries, *, order, offset):
    """Returns `{name of a tag: its value}`. Raises a ValueError if the samples differ in type."""
    page = dict(TAGS.values())
    for tag, kind, count, value in entries:
        if tag not in TAGS or kind not in INTEGERS or not 1 <= count <= MAX_PAGES:
            continue
        layout = f"{order}{count}{INTEGERS[kind]}"
        if struct.calcsize(layout) > len(value):
            numbers = _unpack(file, struct.unpack(order + offset, value)[0], layout)
        else:
            numbers = struct.unpack_from(layout, value)
        if len(set(numbers)) > 1:
            raise ValueError(f"its samples have different {TAGS[tag][0]}: {numbers}")
        page[TAGS[tag][0]] = numbers[0]
    if None in (page["width"], page["height"]):
        raise ValueError("a page without a size")
    return page


def _unpack(file, offset, layout):
    file.seek(offset)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
