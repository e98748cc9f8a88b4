"""Which way up a photograph is, from the bytes of its file, in a graph: a SavedModel has no Pillow.

JPEG keeps EXIF in a segment APP1, PNG in a chunk eXIf; in both it is a TIFF header with one directory of
entries of 12 bytes. Sources: EXIF 2.32, sections 4.5 and 4.6; PNG, third edition, 11.3.4.5.
"""

import tensorflow as tf

from mask_rcnn.export.attempt import attempt

ORIENTATION = 0x0112  # tag, EXIF 2.32, table 4
UPRIGHT = 1

JPEG_START, PNG_START = 2, 8  # where the first segment or chunk is
MAX_PARTS = 1000  # in front of it: a file of nothing but empty ones should not take minutes
JPEG_EXIF, JPEG_SCAN = 0xE1, 0xDA  # markers APP1, SOS


def orientation(contents):
    """Returns the EXIF orientation of a file, 1..8; 1 where it has none, or none that can be read.

    Args:
        contents: `[]` string, the bytes of a JPEG or PNG file; those of other files are upright.

    Returns:
        `[]` int32.
    """
    found = attempt(_read, contents, UPRIGHT)  # reading behind the end fails
    return tf.where((found >= 1) & (found <= 8), found, UPRIGHT)


def _read(contents):
    data = tf.cast(tf.io.decode_raw(contents, tf.uint8), tf.int32)
    at = tf.cond(tf.io.is_jpeg(contents), lambda: _find_in_jpeg(data), lambda: _find_in_png(data))
    return _read_tiff(data[at:])


def _find_in_jpeg(data):
    """Returns where the TIFF header of the APP1 segment begins."""
    exif = tf.constant([*b"Exif\0\0"])

    def is_other(at):
        is_exif = (data[at + 1] == JPEG_EXIF) & tf.reduce_all(data[at + 4 : at + 10] == exif)
        is_scan = data[at + 1] == JPEG_SCAN  # pixels; no EXIF comes behind
        tf.debugging.assert_equal(is_scan, False)
        return ~is_exif

    return _walk(is_other, lambda at: at + 2 + _number(data, at + 2, 2, True), JPEG_START) + 10


def _find_in_png(data):
    """Returns where the data of the chunk eXIf begin."""
    exif, pixels = tf.constant([*b"eXIf"]), tf.constant([*b"IDAT"])

    def is_other(at):
        name = data[at + 4 : at + 8]
        tf.debugging.assert_equal(tf.reduce_all(name == pixels), False)
        return ~tf.reduce_all(name == exif)

    return _walk(is_other, lambda at: at + 12 + _number(data, at, 4, True), PNG_START) + 8


def _walk(is_other, after, start):
    """Returns the first place from `start` on that `is_other` denies."""
    return tf.while_loop(is_other, lambda at: [after(at)], [start], maximum_iterations=MAX_PARTS)[0]


def _read_tiff(data):
    """Returns the orientation in the directory of a TIFF header, bytes `[N]` int32."""
    big = data[0] == ord("M")  # Motorola's order of bytes, otherwise Intel's
    directory = _number(data, 4, 4, big)
    entries = directory + 2 + 12 * tf.range(_number(data, directory, 2, big))  # [N]
    tags = tf.map_fn(lambda at: _number(data, at, 2, big), entries)
    found = tf.boolean_mask(entries, tags == ORIENTATION)
    return _number(data, found[0] + 8, 2, big)


def _number(data, at, size, big):
    """Returns the whole number of `size` bytes at a place; `big` says that its highest byte comes first."""
    digits = data[at : at + size]
    digits = tf.where(big, digits, digits[::-1])
    number = tf.reduce_sum(digits * tf.constant([256**power for power in reversed(range(size))]))
    tf.debugging.assert_non_negative(number)  # 2 GB or more: a file that would lead us back
    return number
