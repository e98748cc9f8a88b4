"""Reads the size and the first frame of GIF files with TensorFlow ops.

TensorFlow's decoder decodes every frame. To avoid that, the first frame is cut out of the file.
Source: GIF89a specification, sections 18 (screen), 20 (image), 22 (data) and 23 to 26 (extensions).
"""

import tensorflow as tf

from mask_rcnn.export.image_graph.file_bytes import decode_integer, read_bytes, read_integer

SCREEN_BYTES, IMAGE_BYTES = 13, 10  # sizes of the file header with the screen, and of an image header
FULL_BLOCK = 256  # bytes of the largest data block: a length byte and 255 bytes of data
BLOCKS_AT_ONCE = 64
MAX_STEPS = 10_000  # steps over blocks, or runs of full blocks: at most 160 MB and 2 s
EXTENSION, IMAGE, TRAILER = ord("!"), ord(","), b";"


def size(contents: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) of the first frame, `[2]` int32; fails if it does not fill the screen."""
    screen = decode_integer(tf.reshape(read_bytes(contents, 6, 4), [2, 2]))
    frame = decode_integer(tf.reshape(read_bytes(contents, _find_image(contents) + 1, 8), [4, 2]))
    tf.debugging.assert_equal(frame, tf.concat([[0, 0], screen], 0))  # left, top, width, height
    return screen[::-1]


def first_frame(contents: tf.Tensor) -> tf.Tensor:
    """Returns a GIF file with the first frame only, without its transparent color.

    Args:
        contents: `[]` string, the bytes of the file.

    Returns:
        `[]` string, the bytes of the new file.
    """
    colors = SCREEN_BYTES + _color_table(contents, 10)
    start = _find_image(contents)
    data = start + IMAGE_BYTES + _color_table(contents, start + 9) + 1  # one byte is the length of the codes
    _, end = tf.while_loop(
        lambda more, offset: more,
        lambda more, offset: _pass_blocks(contents, offset),
        (True, data),
        maximum_iterations=MAX_STEPS,
    )
    frame = tf.strings.substr(contents, start, end - start)
    return tf.strings.join([tf.strings.substr(contents, 0, colors), frame, TRAILER])


def _find_image(contents: tf.Tensor) -> tf.Tensor:
    """Returns the index of the first image, `[]` int32.

    Extensions may come before it. The last block of an extension is empty.
    """

    def step(in_extension, offset):
        value = read_integer(contents, offset, 1)
        tf.debugging.assert_equal(in_extension | (value == EXTENSION), True)
        after = tf.where(in_extension, offset + 1 + value, offset + 2)
        return ~in_extension | (value > 0), after

    _, offset = tf.while_loop(
        lambda in_extension, offset: in_extension | (read_integer(contents, offset, 1) != IMAGE),
        step,
        (False, SCREEN_BYTES + _color_table(contents, 10)),
        maximum_iterations=MAX_STEPS,
    )
    return offset


def _color_table(contents: tf.Tensor, offset: tf.Tensor | int) -> tf.Tensor:
    """Returns the size of a color table in bytes, 0 without one, from the flags at index `offset`."""
    flags = read_integer(contents, offset, 1)
    entries = tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 7))
    return tf.where(flags >= 128, 3 * entries, 0)


def _pass_blocks(contents: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns whether more blocks follow, and the index after the next block or a run of full blocks."""
    data = tf.io.decode_raw(tf.strings.substr(contents, offset, FULL_BLOCK * BLOCKS_AT_ONCE), tf.uint8)
    lengths = tf.cast(data[::FULL_BLOCK], tf.int32)
    full = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths == FULL_BLOCK - 1, tf.int32)))
    return lengths[0] > 0, offset + tf.where(full > 0, FULL_BLOCK * full, 1 + lengths[0])
