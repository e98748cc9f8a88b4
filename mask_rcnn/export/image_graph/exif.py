"""Reads the orientation of a photograph from the bytes of its file, with TensorFlow ops.

A SavedModel cannot use Pillow. JPEG stores EXIF and XMP in segments APP1. WebP stores them in chunks "EXIF"
and "XMP ". PNG stores EXIF in a chunk eXIf, or as hexadecimal digits in a text chunk (ImageMagick), and XMP
in a text chunk iTXt, which may be compressed. EXIF is a TIFF header with one directory of entries of 12
bytes. EXIF takes precedence over XMP, as in `data/image_io/image_headers.py`. Sources: EXIF 2.32, sections
4.5 and 4.6; XMP, part 3; PNG, third edition, 11.3; WebP, RFC 9649, 2.7.1.5.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from mask_rcnn.data.image_io.exif import EXIF_ORIENTATION, MAX_ENTRIES, UPRIGHT
from mask_rcnn.data.image_io.image_headers import MARKERS_WITHOUT_LENGTH, XMP_SEGMENT
from mask_rcnn.export.image_graph.file_bytes import (
    BYTES,
    decode_integer,
    find,
    read_bytes,
    read_integer,
    skip_parts,
)
from mask_rcnn.export.image_graph.value_or_default import value_or_default
from mask_rcnn.export.image_graph.webp import FIRST_CHUNK, after_chunk

JPEG_START = 2  # index of the first segment
JPEG_APP1, JPEG_SCAN = 0xE1, 0xDA  # markers
EXIF_SEGMENT = b"Exif\0\0"
TIFF_STARTS = (b"II*\0", b"MM\0*")
XMP_TEXT, EXIF_TEXT = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"  # keywords of text chunks of PNG
MAX_COMPRESSED = 1 << 16  # largest compressed metadata, bytes; zlib expands by up to 1032 times
XMP_TAG = b"tiff:Orientation"
HEXADECIMAL = [int(chr(code), 16) if chr(code) in "0123456789abcdefABCDEF" else -1 for code in range(256)]


def orientation(contents: tf.Tensor, format: tf.Tensor | str) -> tf.Tensor:
    """Returns the orientation of a file from its EXIF or XMP data.

    Args:
        contents: `[]` string, the bytes of the file.
        format: `[]` string, "JPEG", "PNG" or "WEBP". Files of other formats are upright.

    Returns:
        `[]` int32, 1..8 as in EXIF; 1 (upright) if the file has no readable orientation.
    """
    format = tf.convert_to_tensor(format)
    readers = {
        "JPEG": (
            lambda contents: _read_tiff(contents, _find_in_jpeg(contents, EXIF_SEGMENT)),
            lambda contents: _read_xmp(_jpeg_xmp(contents)),
        ),
        "PNG": (
            lambda contents: _read_tiff(contents, _find_in_png(contents)),
            lambda contents: _read_tiff(*_png_digits(contents)),
            lambda contents: _read_xmp(_png_xmp(contents)),
        ),
        "WEBP": (
            lambda contents: _read_tiff(contents, _find_in_webp(contents)),
            lambda contents: _read_xmp(_webp_xmp(contents)),
        ),
    }
    cases = [
        (format == name, lambda functions=functions: _first_of(functions, contents))
        for name, functions in readers.items()
    ]
    return tf.case(cases, default=lambda: tf.constant(UPRIGHT))


def _first_of(readers: Sequence[Callable[[tf.Tensor], tf.Tensor]], contents: tf.Tensor) -> tf.Tensor:
    """Returns the first valid orientation that one of the functions finds, or UPRIGHT."""
    if not readers:
        return tf.constant(UPRIGHT)
    found = value_or_default(readers[0], contents, 0)  # reading after the end fails
    is_known = (found >= 1) & (found <= 8)
    return tf.cond(is_known, lambda: found, lambda: _first_of(readers[1:], contents))


def _find_in_jpeg(contents: tf.Tensor, word: bytes) -> tf.Tensor:
    """Returns the index after a word at the start of the data of an APP1 segment."""
    letters = tf.constant([*word])

    def is_other(offset):
        marker = read_bytes(contents, offset, 2)[1]
        tf.debugging.assert_none_equal(marker, JPEG_SCAN)  # no metadata comes after the pixels
        # Only a segment APP1 must be long enough to hold the word.
        return tf.cond(
            marker == JPEG_APP1,
            lambda: tf.reduce_any(read_bytes(contents, offset + 4, len(word)) != letters),
            lambda: True,
        )

    return skip_parts(is_other, lambda offset: _after_segment(contents, offset), JPEG_START) + 4 + len(word)


def _after_segment(contents: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Returns the index after a segment, or after a byte between segments, which Pillow skips, too."""
    first, marker = tf.unstack(read_bytes(contents, offset, 2), 2)
    is_marker = (first == 0xFF) & (marker != 0) & (marker != 0xFF)
    has_length = is_marker & tf.reduce_all(marker != sorted(MARKERS_WITHOUT_LENGTH))
    length = tf.cond(
        has_length, lambda: tf.maximum(read_integer(contents, offset + 2, 2, big_endian=True), 2), lambda: 0
    )
    return offset + tf.where(is_marker, 2, 1) + length


def _jpeg_xmp(contents: tf.Tensor) -> tf.Tensor:
    offset = _find_in_jpeg(contents, XMP_SEGMENT)
    start = offset - len(XMP_SEGMENT) - 2
    return tf.strings.substr(
        contents, offset, start + read_integer(contents, start, 2, big_endian=True) - offset
    )


def _find_in_png(contents: tf.Tensor) -> tf.Tensor:
    """Returns the index of the data of the chunk eXIf, which may be before or after the pixels."""
    return _find_any(contents, [b"eXIf" + start for start in TIFF_STARTS]) + 4


def _png_text(contents: tf.Tensor, kinds: Sequence[bytes], keyword: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the data of a PNG text chunk after its keyword, and its chunk type, one of `kinds`."""
    offset = _find_any(contents, [kind + keyword for kind in kinds])
    text = tf.strings.substr(contents, offset + 4, read_integer(contents, offset - 4, 4, big_endian=True))
    return tf.strings.substr(text, len(keyword), tf.strings.length(text)), tf.strings.substr(
        contents, offset, 4
    )


def _find_any(contents: tf.Tensor, words: Sequence[bytes]) -> tf.Tensor:
    """Returns the index of one of several words, `[]` int32; fails if the file has none of them."""
    offset = tf.reduce_max([find(contents, word) for word in words])
    tf.debugging.assert_non_negative(offset)
    return offset


def _png_xmp(contents: tf.Tensor) -> tf.Tensor:
    text, kind = _png_text(contents, (b"iTXt", b"tEXt", b"zTXt"), XMP_TEXT)
    is_compressed = tf.strings.substr(text, 0, 1) == b"\1"
    return tf.case(
        [
            (kind == b"zTXt", lambda: _inflate(tf.strings.substr(text, 1, tf.strings.length(text)))),
            ((kind == b"iTXt") & is_compressed, lambda: _inflate(_after_languages(text))),
        ],
        default=lambda: text,
    )


def _after_languages(text: tf.Tensor) -> tf.Tensor:
    """Returns the text of a chunk iTXt, which may be compressed.

    It skips two bytes, the language tag and the translated keyword, which both end with a zero byte.
    """
    return tf.strings.split(tf.strings.substr(text, 2, tf.strings.length(text)), b"\0", maxsplit=2)[2]


def _png_digits(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the EXIF data of a PNG text chunk as bytes, `[]` string, and the index of their TIFF header."""
    text, kind = _png_text(contents, (b"zTXt", b"tEXt"), EXIF_TEXT)
    text = tf.cond(
        kind == b"zTXt", lambda: _inflate(tf.strings.substr(text, 1, tf.strings.length(text))), lambda: text
    )
    digits = tf.strings.reduce_join(tf.strings.split(text, b"\n")[3:])  # lines 1 to 3: empty, name, length
    values = tf.gather(HEXADECIMAL, tf.cast(tf.io.decode_raw(digits, tf.uint8), tf.int32))
    tf.debugging.assert_non_negative(values)
    pairs = tf.reshape(values, [-1, 2])
    data = tf.strings.reduce_join(tf.gather(BYTES, 16 * pairs[:, 0] + pairs[:, 1]))
    return data, tf.where(tf.strings.substr(data, 0, 6) == EXIF_SEGMENT, 6, 0)


def _inflate(data: tf.Tensor) -> tf.Tensor:
    tf.debugging.assert_less_equal(tf.strings.length(data), MAX_COMPRESSED)
    return tf.io.decode_compressed(data, "ZLIB")


def _find_in_webp(contents: tf.Tensor) -> tf.Tensor:
    """Returns the index of the data of the chunk "EXIF", after the prefix "Exif" that some writers repeat."""
    offset = _webp_chunk(contents, b"EXIF")
    return tf.where(tf.strings.substr(contents, offset, 6) == EXIF_SEGMENT, offset + 6, offset)


def _webp_xmp(contents: tf.Tensor) -> tf.Tensor:
    offset = _webp_chunk(contents, b"XMP ")
    return tf.strings.substr(contents, offset, read_integer(contents, offset - 4, 4))


def _webp_chunk(contents: tf.Tensor, name: bytes) -> tf.Tensor:
    """Returns the index of the data of the first chunk with the given name."""

    def is_other(offset):
        read_bytes(contents, offset, 8)  # fails at the end
        return tf.strings.substr(contents, offset, 4) != name

    return skip_parts(is_other, lambda offset: after_chunk(contents, offset), FIRST_CHUNK) + 8


def _read_tiff(contents: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the directory of the TIFF header at index `offset`, `[]` int32."""
    start = tf.strings.substr(contents, offset, 2)
    tf.debugging.assert_equal((start == b"II") | (start == b"MM"), True)
    big = start == b"MM"  # big-endian (Motorola); "II" is little-endian (Intel)
    directory = offset + read_integer(contents, offset + 4, 4, big_endian=big)
    count = tf.minimum(read_integer(contents, directory, 2, big_endian=big), MAX_ENTRIES)
    entries = tf.reshape(read_bytes(contents, directory + 2, 12 * count), [-1, 12])
    found = tf.boolean_mask(entries, decode_integer(entries[:, :2], big) == EXIF_ORIENTATION)
    return decode_integer(found[0, 8:10], big)


def _read_xmp(xmp: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in XMP data, `[]` string: the digit in `tiff:Orientation="6"` or `...>6<`."""
    after = tf.strings.join([tf.strings.split(xmp, XMP_TAG)[1:], b"   "])  # pads to three characters
    is_attribute = tf.strings.substr(after, 0, 2) == b'="'
    is_element = tf.strings.substr(after, 0, 1) == b">"
    digits = tf.where(is_attribute, tf.strings.substr(after, 2, 1), tf.strings.substr(after, 1, 1))
    is_known = tf.strings.regex_full_match(digits, "[1-8]") & (is_attribute | is_element)
    return tf.strings.to_number(tf.boolean_mask(digits, is_known)[0], tf.int32)
