"""Reads headers of image files without decoding the pixels: format, size, orientation, comment.

Only the few necessary bytes are read, so that a wrong size or very large metadata cost no memory.
Sources: JPEG, ITU-T T.81, annex B; PNG, third edition, section 5; GIF89a; BMP, Microsoft's BITMAPINFOHEADER;
WebP, RFC 9649.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from mask_rcnn.data.image_io.array_headers import NPY_START, TIFF_STARTS, parse_npy, parse_tiff
from mask_rcnn.data.image_io.exif import UPRIGHT, exif_orientation, xmp_orientation

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
RGB8 = {"channels": 3, "dtype": "uint8"}  # the pixel format that every part of the package supports
ARRAY_FORMATS = ("TIFF", "NPY")  # formats with any number of channels
# Suffixes of image files when a folder is searched. Not .npy, because such arrays need not be images.
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")

# Maximum pixels of an image that is decoded, 0.6 GB as RGB. A large scan, A0 paper at 300 dots per inch, has
# 140 million pixels.
MAX_PIXELS = 200_000_000

MAX_PARTS = 1_000_000  # segments or chunks of a file; reading the start of each takes about 3 s
MAX_METADATA = 1 << 20  # bytes of EXIF, XMP or a comment; larger ones are ignored

DECODED_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by color type of PNG; a palette gives colors
SOF_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame, for any coding
APP1, SOS, EOI, COM = 0xE1, 0xDA, 0xD9, 0xFE
MARKERS_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """Properties of an image that are known before its pixels are decoded.

    Args:
        height: Height in pixels, after the EXIF orientation is applied.
        width: Width in pixels, after the EXIF orientation is applied.
        orientation: EXIF orientation, 1..8. 1 is upright.
        format: One of `FORMATS` or `ARRAY_FORMATS`.
        bits: Bits per sample, 8 or 16. Fewer than 8 bits are scaled to 8. Defaults to 8.
        channels: 1 is gray, 2 gray and alpha, 3 any color, 4 color and alpha. `ARRAY_FORMATS` have any
            number. GIF, BMP and WebP count as color. Defaults to 3.
        pages: Number of pages of a TIFF file, each with `channels / pages` samples per pixel. Defaults to 1.
        becomes_rgb: Whether the file can be read as RGB: gray is repeated, alpha is dropped. Defaults to
            True.
        comment: Text of a JPEG comment or a PNG `Comment`. Defaults to "".
    """

    height: int
    width: int
    orientation: int
    format: str
    bits: int = 8
    channels: int = 3
    pages: int = 1
    becomes_rgb: bool = True
    comment: str = ""


def parse_header(file: IO[bytes]) -> ImageHeader:
    """Returns the `ImageHeader` of an image file.

    Args:
        file: Open binary file.

    Raises:
        ValueError, struct.error: The file is not an image of these formats, or its header is damaged.
    """
    start = _read(file, 0, 16)
    if start.startswith(b"\xff\xd8\xff"):
        fields: dict[str, Any] = _parse_jpeg(file)
    elif start.startswith(b"\x89PNG\r\n\x1a\n"):
        fields = _parse_png(file)
    elif start[:6] in (b"GIF87a", b"GIF89a"):
        fields = {"format": "GIF", "size": _gif_size(file)}
    elif start.startswith(b"BM"):
        fields = {"format": "BMP", "size": _bmp_size(file)}
    elif start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        fields = _parse_webp(file)
    elif start.startswith(TIFF_STARTS):
        fields = parse_tiff(file)
    elif start.startswith(NPY_START):
        fields = parse_npy(file)
    else:
        raise ValueError("the first bytes are not of such a format" if start else "the file is empty")
    height, width = fields.pop("size")
    if height < 1 or width < 1:
        raise ValueError(f"its header says {width} x {height} pixels")
    orientations = (fields.pop("exif", None), fields.pop("xmp", None), UPRIGHT)
    orientation: int = next(number for number in orientations if number)
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(height=height, width=width, orientation=orientation, **fields)


def jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, offset, length) of the content of each segment up to the first scan, in order.

    Bytes between segments are skipped, as libjpeg and Pillow do.
    """
    at = 2
    for _ in range(MAX_PARTS):
        start = _read(file, at, 4)
        if len(start) < 2:
            raise ValueError("it ends before its first scan")
        if start[0] != 0xFF or start[1] in (0x00, 0xFF):
            at += 1
            continue
        marker = start[1]
        if marker in MARKERS_WITHOUT_LENGTH:
            at += 2
            continue
        length = max(struct.unpack(">H", start[2:])[0] - 2, 0)
        yield marker, at + 4, length
        if marker == SOS:
            return
        at += 4 + length
    raise ValueError("it has too many segments")


def png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yields (type, offset, length) of the content of each chunk, up to IEND or the end of the file."""
    at, end = 8, file.seek(0, os.SEEK_END)
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return
        length, kind = _unpack(file, at, ">I4s")
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("it has too many chunks")


def _parse_jpeg(file: IO[bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {"format": "JPEG"}
    for marker, offset, length in jpeg_segments(file):
        if marker in SOF_MARKERS and "size" not in fields:
            precision, *fields["size"], components = _unpack(file, offset, ">BHHB")
            fields["channels"] = 1 if components == 1 else 3
            if precision != 8:
                raise ValueError(f"a JPEG file of {precision} bits per sample")
        elif marker == APP1 and length <= MAX_METADATA:
            _take_metadata(fields, _read(file, offset, length))
        elif marker == COM and length <= MAX_METADATA:
            fields["comment"] = _read(file, offset, length).decode("latin-1")
    if "size" not in fields:
        raise ValueError("it has no frame header")
    return fields


def _take_metadata(fields, data):
    """Adds the orientation of an APP1 segment to `fields`. The first EXIF and the first XMP segment count."""
    if data.startswith(b"Exif\0\0"):
        fields.setdefault("exif", exif_orientation(data))
    elif data.startswith(XMP_SEGMENT):
        fields.setdefault("xmp", xmp_orientation(data))


def _parse_png(file: IO[bytes]) -> dict[str, Any]:
    kind, width, height, bits, color_type = _unpack(file, 12, ">4sIIBB")
    if kind != b"IHDR":
        raise ValueError("its first chunk is not IHDR")
    channels = DECODED_CHANNELS.get(color_type, 3)
    fields = {"format": "PNG", "size": (height, width), "bits": max(bits, 8), "channels": channels}
    for kind, offset, length in png_chunks(file):
        if length > MAX_METADATA:
            continue
        if kind == b"eXIf":
            fields["exif"] = exif_orientation(_read(file, offset, length))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _take_text(fields, kind, _read(file, offset, length))
    return fields


def _take_text(fields, kind, data):
    """Adds a comment, or the orientation in XMP or ImageMagick's EXIF, from a text chunk to `fields`."""
    keyword, _, text = data.partition(b"\0")
    if kind == b"zTXt":
        text = _inflate(text[1:])
    elif kind == b"iTXt":
        compressed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
        text = _inflate(text) if compressed else text
    if keyword == b"Comment":
        fields["comment"] = text.decode("utf-8", "replace")
    elif keyword == b"XML:com.adobe.xmp":
        fields["xmp"] = xmp_orientation(text)
    elif keyword == b"Raw profile type exif":
        digits = b"".join(text.split(b"\n")[3:])
        fields.setdefault("exif", exif_orientation(bytes.fromhex(digits.decode("ascii", "replace"))))


def _inflate(data):
    """Decompresses at most `MAX_METADATA` bytes of zlib data; returns b"" if the data are damaged."""
    try:
        return zlib.decompressobj().decompress(data, MAX_METADATA)
    except zlib.error:
        return b""


def _gif_size(file):
    """Returns (height, width) of the screen, or of the first frame if that is larger, as Pillow does."""
    width, height, flags = _unpack(file, 6, "<HHB")
    at = 13 + _color_table_bytes(flags)
    for _ in range(MAX_PARTS):
        introducer = _read(file, at, 1)
        if introducer == b"!":  # an extension: a label, then blocks that end with an empty block
            at += 2
            while length := _unpack(file, at, "B")[0]:
                at += 1 + length
            at += 1
        elif introducer == b",":
            left, top, frame_width, frame_height = _unpack(file, at + 1, "<HHHH")
            return max(height, top + frame_height), max(width, left + frame_width)
        elif introducer in (b"", b";"):
            raise ValueError("it has no frame")
        else:
            at += 1
    raise ValueError("it has too many blocks")


def _color_table_bytes(flags):
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp_size(file):
    (header_bytes,) = _unpack(file, 14, "<I")
    if header_bytes == 12:  # OS/2
        width, height = _unpack(file, 18, "<HH")
    else:
        width, height = _unpack(file, 18, "<ii")
    return abs(height), width  # a negative height means that rows go from top to bottom


def _parse_webp(file: IO[bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {"format": "WEBP"}
    at, end = 12, file.seek(0, os.SEEK_END)
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            break
        kind, length = _unpack(file, at, "<4sI")
        if "size" not in fields:
            fields["size"] = _webp_size(kind, _read(file, at + 8, 10))
        elif kind in (b"EXIF", b"XMP ") and length <= MAX_METADATA:
            data = _read(file, at + 8, length)
            fields |= {"exif": exif_orientation(data)} if kind == b"EXIF" else {"xmp": xmp_orientation(data)}
        at += 8 + length + length % 2
    if "size" not in fields:
        raise ValueError("it has no chunk")
    return fields


def _webp_size(kind, data):
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))
    else:
        raise ValueError("its first chunk is not a valid VP8, VP8L or VP8X chunk")
    return height, width


def _read(file, offset, length):
    file.seek(offset)
    return file.read(length)


def _unpack(file, offset, layout):
    return struct.unpack(layout, _read(file, offset, struct.calcsize(layout)))
