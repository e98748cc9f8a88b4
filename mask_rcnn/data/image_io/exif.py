"""Reads the orientation of a photograph from EXIF or XMP data, which may be damaged."""

import re
import struct

EXIF_ORIENTATION = 0x0112  # tag, EXIF 2.32, table 4
UPRIGHT = 1
MAX_ENTRIES = 1000  # entries of a TIFF directory that are read; cameras write fewer than 100
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def exif_orientation(data: bytes) -> int | None:
    """Returns the orientation in EXIF data, 1..8, or None if it is missing or unreadable.

    Args:
        data: Bytes of a TIFF header with its directory, optionally after `Exif` and two zero bytes.
    """
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", data, directory)
        for number in range(min(num_entries, MAX_ENTRIES)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, directory + 2 + 12 * number)
            if tag == EXIF_ORIENTATION:
                return value if value in range(1, 9) else None  # some cameras write 0 for "unknown"
    except struct.error:  # the data ends too early
        pass
    return None


def xmp_orientation(data: bytes) -> int | None:
    """Returns the orientation in the bytes of XMP data, 1..8, or None if there is none."""
    match = XMP_ORIENTATION.search(data)
    return int(match[1]) if match else None
