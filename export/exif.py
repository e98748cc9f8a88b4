"""Which way up a photograph is, from the bytes of its file, in a graph: a SavedModel has no Pillow.

JPEG keeps EXIF in a segment APP1, PNG in a chunk eXIf, WebP in a chunk EXIF. In all of them it is a TIFF
header with one directory of entries of 12 bytes. Sources: EXIF 2.32, sections 4.5 and 4.6; PNG, third
edition, 11.3.4.5; WebP, RFC 9649, section 2.7.1.5.
"""

import tensorflow as tf

from mask_rcnn.data.exif import EXIF_ORIENTATION, MAX_ENTRIES, UPRIGHT
from mask_rcnn.export.attempt import attempt
from mask_rcnn.export.file_bytes import number, read_bytes, read_number, walk
from mask_rcnn.export.webp import FIRST_CHUNK, after_chunk

JPEG_START, PNG_START = 2, 8  # index of the first segment or chunk
JPEG_EXIF, JPEG_SCAN = 0xE1, 0xDA  # markers APP1, SOS


def orientation(contents, format):
    """Returns the EXIF orientation of a file, 1..8; 1 if it has none, or none that can be read.

    Args:
        contents: `[]` string, the bytes of the file.
        format: `[]` string, one of "JPEG", "PNG", "WEBP"; files of other formats are upright.

    Returns:
        `[]` int32.
    """
    format = tf.convert_to_tensor(format)
    finders = {"JPEG": _find_in_jpeg, "PNG": _find_in_png, "WEBP": _find_in_webp}

    def read(contents):
        cases = [(format == name, lambda find=find: find(contents)) for name, find in finders.items()]
        return _read_tiff(contents, tf.case(cases, default=lambda: tf.size(contents) - 2))

    found = attempt(read, contents, UPRIGHT)  # reading after the end fails
    return tf.where((found >= 1) & (found <= 8), found, UPRIGHT)


def _find_in_jpeg(contents):
    """Returns the index of the TIFF header in the APP1 segment."""
    exif = tf.constant([*b"Exif\0\0"])

    def is_other(at):
        marker = read_bytes(contents, at, 2)[1]
        tf.debugging.assert_none_equal(marker, JPEG_SCAN)  # pixels; no EXIF comes after them
        # Only a segment APP1 must be long enough to hold the word.
        return tf.cond(
            marker == JPEG_EXIF, lambda: tf.reduce_any(read_bytes(contents, at + 4, 6) != exif), lambda: True
        )

    return walk(is_other, lambda at: at + 2 + read_number(contents, at + 2, 2, True), JPEG_START) + 10


def _find_in_png(contents):
    """Returns the index of the data of the chunk eXIf."""

    def is_other(at):
        name = tf.strings.substr(contents, at + 4, 4)
        tf.debugging.assert_none_equal(name, b"IDAT")
        return name != b"eXIf"

    return walk(is_other, lambda at: at + 12 + read_number(contents, at, 4, True), PNG_START) + 8


def _find_in_webp(contents):
    """Returns the index of the data of the chunk EXIF, after the letters that some writers repeat there."""

    def is_other(at):
        read_bytes(contents, at, 8)  # fails at the end
        return tf.strings.substr(contents, at, 4) != b"EXIF"

    at = walk(is_other, lambda at: after_chunk(contents, at), FIRST_CHUNK) + 8
    return tf.where(tf.strings.substr(contents, at, 6) == b"Exif\0\0", at + 6, at)


def _read_tiff(contents, at):
    """Returns the orientation in the directory of the TIFF header at index `at`."""
    big = read_bytes(contents, at, 1)[0] == ord("M")  # Motorola's order of bytes, otherwise Intel's
    directory = at + read_number(contents, at + 4, 4, big)
    count = tf.minimum(read_number(contents, directory, 2, big), MAX_ENTRIES)
    entries = tf.reshape(read_bytes(contents, directory + 2, 12 * count), [-1, 12])
    found = tf.boolean_mask(entries, number(entries[:, :2], big) == EXIF_ORIENTATION)
    return number(found[0, 8:10], big)
