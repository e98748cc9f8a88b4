"""Decodes WebP files with TensorFlow ops.

The first frame of an animation is copied to a file of its own. TensorFlow's decoder (2.21) writes outside its
memory when it decodes one frame of an animation. Source: RFC 9649, sections 2.5 to 2.7.
"""

import tensorflow as tf

from mask_rcnn.export.image_graph.file_bytes import (
    BYTES,
    decode_integer,
    read_bytes,
    read_integer,
    skip_parts,
)

FIRST_CHUNK, CHUNK_HEADER, FRAME_HEADER = 12, 8, 16  # index of the first chunk, and sizes of headers, bytes
ANIMATION = 2  # flag in the chunk VP8X


def size(contents: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) of a WebP file, `[2]` int32.

    The first chunk is a lossy image (VP8), a lossless image (VP8L), or has the size (VP8X).
    """
    data = tf.ensure_shape(read_bytes(contents, FIRST_CHUNK + CHUNK_HEADER, 10), [10])
    kind = tf.strings.substr(contents, FIRST_CHUNK, 4)
    extended = decode_integer(tf.stack([data[4:7], data[7:10]])) + 1
    bits = tf.bitwise.right_shift(decode_integer(tf.concat([data[1:4], data[4:5] & 15], 0)), [0, 14])
    lossless = tf.bitwise.bitwise_and(bits, 0x3FFF) + 1
    lossy = tf.bitwise.bitwise_and(decode_integer(tf.reshape(data[6:], [2, 2])), 0x3FFF)
    return tf.where(kind == b"VP8X", extended, tf.where(kind == b"VP8L", lossless, lossy))[::-1]


def decode(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a WebP file: `[]` string to `[H, W, 3]` uint8, RGB. Alpha is dropped."""
    is_extended = tf.strings.substr(contents, FIRST_CHUNK, 4) == b"VP8X"
    flags = read_integer(contents, FIRST_CHUNK + CHUNK_HEADER, 1)
    is_animation = is_extended & (tf.bitwise.bitwise_and(flags, ANIMATION) > 0)
    contents = tf.cond(is_animation, lambda: _first_frame(contents), lambda: contents)
    return tf.io.decode_image(contents, channels=0, expand_animations=False)[..., :3]


def after_chunk(contents: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Returns the index after the chunk at index `offset`."""
    length = read_integer(contents, offset + 4, 4)
    return offset + CHUNK_HEADER + length + tf.math.floormod(length, 2)


def _first_frame(contents: tf.Tensor) -> tf.Tensor:
    """Returns the first frame of an animation as a WebP file; fails if it does not fill the canvas."""

    def is_other(name):
        def test(offset):
            read_bytes(contents, offset, CHUNK_HEADER)  # fails at the end
            return tf.strings.substr(contents, offset, 4) != name

        return test

    frame = (
        skip_parts(is_other(b"ANMF"), lambda offset: after_chunk(contents, offset), FIRST_CHUNK)
        + CHUNK_HEADER
    )
    x, y, width, height = tf.unstack(decode_integer(tf.reshape(read_bytes(contents, frame, 12), [4, 3])))
    tf.debugging.assert_equal(tf.stack([y, x, height + 1, width + 1]), tf.concat([[0, 0], size(contents)], 0))
    picture = frame + FRAME_HEADER
    is_alpha = tf.strings.substr(contents, picture, 4) == b"ALPH"  # alpha channel of the next chunk, VP8
    picture = tf.cond(is_alpha, lambda: after_chunk(contents, picture), lambda: picture)
    length = after_chunk(contents, picture) - picture
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(length + 4, [0, 8, 16, 24]), 255)
    size_bytes = tf.strings.reduce_join(tf.gather(BYTES, digits))
    return tf.strings.join([b"RIFF", size_bytes, b"WEBP", tf.strings.substr(contents, picture, length)])
