"""Which way up a photograph is: the orientation in EXIF or XMP data, read without trust in either."""

import re
import struct

EXIF_ORIENTATION = 0x0112  # tag, EXIF 2.32, table 4
UPRIGHT = 1
MAX_ENTRIES = 1000  # of a TIFF directory that are looked at; cameras write fewer than 100
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def exif_orientation(data):
    """Returns the orientation in EXIF data, 1..8; None if it has none that can be read.

    Args:
        data: bytes, a TIFF header with its directory, perhaps after `Exif` and two zeros.
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


def xmp_orientation(data):
    """Returns the orientation in XMP data, bytes, 1..8; None if it has none."""
    found = XMP_ORIENTATION.search(data)
    return int(found[1]) if found else None
