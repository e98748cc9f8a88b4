"""Decodes image files with TensorFlow ops, because a SavedModel cannot use Pillow.

The size of an image is read from its header before it is decoded, so that a small file with a huge image is
refused at no cost. Sources: PNG, third edition, section 11.2.1; GIF89a, sections 18 to 24; BMP, Microsoft's
BITMAPINFOHEADER; WebP, RFC 9649.
"""

import tensorflow as tf

from mask_rcnn.export.image_graph import bmp, exif, gif, webp
from mask_rcnn.export.image_graph.file_bytes import decode_integer, read_bytes, read_integer
from mask_rcnn.export.image_graph.value_or_default import value_or_default

MAX_PIXELS = 50_000_000  # 150 MB decoded; enough for the cameras of phones
# Each scan of a progressive JPEG file updates all pixels, so a file of 50 kB could take minutes to decode.
# Encoders write about 10 scans.
MAX_SCANS = 100
JPEG_SCAN = b"\xff\xda"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8", "BMP": b"BM", "WEBP": b"RIFF"}
COMPLETE_FILE = (
    "Expected complete JPEG, PNG, GIF, BMP or WebP files. "
    "Received a damaged file or another format, at this index of the batch, counted from 0:"
)


def decode_file(
    index: tf.Tensor | int, contents: tf.Tensor, *, max_pixels: int = MAX_PIXELS, bit_depth: int | None = None
) -> tf.Tensor:
    """Decodes one image file of a batch, as `mask_rcnn.data.image_io.images.read_image` does.

    Args:
        index: `[]` int32, index of the file in the batch, for the error messages.
        contents: `[]` string, the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        max_pixels: Int, largest height times width to decode. Defaults to `MAX_PIXELS`.
        bit_depth: Int, number of bits that the samples of 16-bit PNG files use, as in `InputConfig`. Defaults
            to None, which is 16.

    Returns:
        `[H, W, 3]` uint8, RGB, with the orientation of EXIF or XMP applied.

    Raises:
        InvalidArgumentError: The file is damaged, of another format, or too large. The message has the index.
    """
    format = file_format(contents)
    size = value_or_default(lambda contents: image_size(contents, format), contents, tf.zeros([2], tf.int32))
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    advice = f"at most {max_pixels} pixels (set by `mask-rcnn export --max-pixels`). Received (index, size):"
    is_complete = _assert(tf.reduce_min(size) > 0, index, COMPLETE_FILE)
    is_small = tf.debugging.Assert(
        pixels <= max_pixels, [f"Expected images of {advice}", index, size, "Make the image smaller."]
    )
    with tf.control_dependencies([is_complete, is_small]):
        contents = tf.identity(contents)
    empty = tf.zeros([0, 0, 3], tf.uint8)
    # The decoder's own error message does not name the file.
    image = value_or_default(lambda contents: _decode(contents, format, bit_depth), contents, empty)
    with tf.control_dependencies([_assert(tf.reduce_all(tf.shape(image)[:2] == size), index, COMPLETE_FILE)]):
        return _upright(image, exif.orientation(contents, format))


def _assert(condition: tf.Tensor, index: tf.Tensor | int, expected: str) -> tf.Operation:
    return tf.debugging.Assert(condition, [expected, index])


def file_format(contents: tf.Tensor) -> tf.Tensor:
    """Returns the format of a file from its first bytes, `[]` string: a key of STARTS, or ""."""
    format = tf.constant("")
    for name, start in STARTS.items():
        format = tf.where(tf.strings.substr(contents, 0, len(start)) == start, name, format)
    return format


def image_size(contents: tf.Tensor, format: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) `[2]` int32 of the image in a file, before its EXIF orientation is applied."""
    sizes = {"JPEG": _jpeg_size, "PNG": _png_size, "GIF": gif.size, "BMP": bmp.size, "WEBP": webp.size}
    cases = [(format == name, lambda size=size: size(contents)) for name, size in sizes.items()]
    return tf.case(cases, default=lambda: tf.zeros([2], tf.int32))


def _jpeg_size(contents: tf.Tensor) -> tf.Tensor:
    scans = tf.size(tf.strings.split(contents, JPEG_SCAN)) - 1
    tf.debugging.assert_less_equal(scans, MAX_SCANS)
    return tf.io.extract_jpeg_shape(contents)[:2]


def _png_size(contents: tf.Tensor) -> tf.Tensor:
    return decode_integer(tf.reshape(read_bytes(contents, 16, 8), [2, 4]), True)[::-1]


def _decode(contents: tf.Tensor, format: tf.Tensor, bit_depth: int | None) -> tf.Tensor:
    """Decodes a file, `[]` string, to `[H, W, 3]` uint8, before its EXIF orientation is applied."""
    decoders = {
        # The accurate DCT gives the same pixels as Pillow and torchvision. The default differs by up to 3.
        "JPEG": lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        "PNG": lambda: _decode_png(contents, bit_depth),
        "GIF": lambda: tf.io.decode_image(gif.first_frame(contents), channels=3, expand_animations=False),
        "BMP": lambda: bmp.decode(contents),
        "WEBP": lambda: webp.decode(contents),
    }
    return tf.case([(format == name, decode) for name, decode in decoders.items()], exclusive=True)


def _decode_png(contents: tf.Tensor, bit_depth: int | None) -> tf.Tensor:
    contents = tf.strings.join([contents, PNG_END])  # libpng requires it, other readers do not
    if bit_depth in (None, 16):
        return tf.io.decode_png(contents, channels=3)
    is_deep = read_integer(contents, 24, 1) == 16
    return tf.cond(
        is_deep, lambda: _decode_deep(contents, bit_depth), lambda: tf.io.decode_png(contents, channels=3)
    )


def _decode_deep(contents: tf.Tensor, bit_depth: int) -> tf.Tensor:
    samples = tf.cast(tf.io.decode_png(contents, channels=3, dtype=tf.uint16), tf.int32)
    tf.debugging.assert_less(samples, 2**bit_depth)
    return tf.cast(tf.bitwise.right_shift(samples, bit_depth - 8), tf.uint8)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Rotates and mirrors an image to undo its EXIF orientation: `[H, W, 3]` to itself or `[W, H, 3]`."""
    image = tf.ensure_shape(image, [None, None, 3])
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    mirrored = tf.reduce_any(orientation == (2, 3, 6, 7))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    upside_down = tf.reduce_any(orientation == (3, 4, 7, 8))
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)
