"""Decodes BMP files with TensorFlow ops.

TensorFlow's own decoder reads the palette indices of a file as gray levels.
Sources: Microsoft's BITMAPINFOHEADER, and BITMAPCOREHEADER of OS/2.
"""

import tensorflow as tf

from mask_rcnn.export.image_graph.file_bytes import decode_integer, read_bytes, read_integer

CORE_HEADER = 12  # bytes of the OS/2 header, where each size has 2 bytes and each color 3 bytes
COLORS = 256
BIT_FIELDS = 3  # value of the field `compression`: the file has bit masks for the channels
BGR_MASKS = (0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0)  # masks of red, green and blue, 4 bytes each


def size(contents: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) of a BMP file, `[2]` int32."""
    width, height, _ = _geometry(contents)
    return tf.stack([height, width])


def decode(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP file.

    Supports 1, 4 and 8 bits per pixel with a palette, 24 bits, and 32 bits, whose fourth byte is dropped.
    An op fails for compressed files and for 16 bits per pixel.

    Args:
        contents: `[]` string, the bytes of the file.

    Returns:
        `[H, W, 3]` uint8, RGB.
    """
    width, height, top_down = _geometry(contents)
    bits = _bits(contents)
    tf.debugging.assert_equal(tf.reduce_any(bits == (1, 4, 8, 24, 32)) & _is_plain(contents, bits), True)
    stride = (width * bits + 31) // 32 * 4  # bytes of a row
    start = read_integer(contents, 10, 4)
    data = tf.io.decode_raw(tf.strings.substr(contents, start, stride * height), tf.uint8)
    rows = tf.reshape(data, [height, stride])  # fails if the file is truncated
    image = tf.cond(
        bits <= 8,
        lambda: tf.gather(_palette(contents, bits), _indices(rows, bits)[:, :width]),
        lambda: _bgr(rows, width, bits // 8),
    )
    return tf.cond(top_down, lambda: image, lambda: image[::-1])


def _geometry(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the width, the height, and whether the first row is the top row: `[]` int32, int32, bool."""
    is_core = read_integer(contents, 14, 4) == CORE_HEADER
    width, height = (
        tf.where(is_core, decode_integer(short), _signed(long))
        for short, long in zip(
            tf.unstack(tf.reshape(read_bytes(contents, 18, 4), [2, 2])),
            tf.unstack(tf.reshape(read_bytes(contents, 18, 8), [2, 4])),
            strict=True,
        )
    )
    return width, tf.abs(height), height < 0


def _signed(data: tf.Tensor) -> tf.Tensor:
    """Decodes a two's complement integer: `[4]` int32 bytes, lowest first, to `[]` int32."""
    return tf.reduce_sum(tf.bitwise.left_shift(data, [0, 8, 16, 24]))


def _bits(contents: tf.Tensor) -> tf.Tensor:
    is_core = read_integer(contents, 14, 4) == CORE_HEADER
    return read_integer(contents, tf.where(is_core, 24, 28), 2)


def _is_plain(contents: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns whether the pixels are uncompressed and any channel masks are those of BGR, `[]` bool."""
    is_core = read_integer(contents, 14, 4) == CORE_HEADER
    compression = tf.cond(is_core, lambda: 0, lambda: read_integer(contents, 30, 4))
    has_masks = (compression == BIT_FIELDS) & (bits == 32)
    is_bgr = tf.cond(
        has_masks, lambda: tf.reduce_all(read_bytes(contents, 54, 12) == BGR_MASKS), lambda: False
    )
    return (compression == 0) | is_bgr


def _palette(contents: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns the palette of a file, `[256, 3]` uint8 RGB. Unused entries are black."""
    header = read_integer(contents, 14, 4)
    entry = tf.where(header == CORE_HEADER, 3, 4)  # bytes
    used = tf.cond(header == CORE_HEADER, lambda: 0, lambda: read_integer(contents, 46, 4))
    used = tf.where((used == 0) | (used > COLORS), tf.bitwise.left_shift(1, bits), used)
    colors = tf.reshape(read_bytes(contents, 14 + header, entry * used), [used, entry])
    unused = COLORS - used
    colors = tf.pad(colors[:, 2::-1], [[0, unused], [0, 0]])  # pyright: ignore[reportArgumentType]  # tensor
    return tf.cast(colors, tf.uint8)


def _indices(rows: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Unpacks bytes into palette indices: `[H, bytes]` uint8 to `[H, pixels]` int32."""
    shifts = tf.range(8 - bits, -1, -bits)
    numbers = tf.bitwise.right_shift(tf.cast(rows, tf.int32)[:, :, None], shifts)
    numbers = tf.bitwise.bitwise_and(numbers, tf.bitwise.left_shift(1, bits) - 1)
    return tf.reshape(numbers, [tf.shape(rows)[0], -1])


def _bgr(rows: tf.Tensor, width: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Converts rows of BGR pixels to RGB: `[H, bytes]` to `[H, W, 3]` uint8."""
    pixels = tf.reshape(rows[:, : width * channels], [tf.shape(rows)[0], width, channels])
    return pixels[:, :, 2::-1]
