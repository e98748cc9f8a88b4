"""Reads bytes of a file with TensorFlow ops.

Each read is short and at a known index, so no header is copied as a whole.
"""

from collections.abc import Callable

import tensorflow as tf

MAX_PARTS = 1000  # parts that `skip_parts` skips: a file full of empty parts takes milliseconds, not minutes
BYTES = tf.constant([bytes([value]) for value in range(256)])


def read_bytes(contents: tf.Tensor, offset: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Returns bytes of a file as `[size]` int32; fails if the file ends before.

    Args:
        contents: `[]` string, the bytes of the file.
        offset: `[]` int32, index of the first byte.
        size: Int or `[]` int32, number of bytes.
    """
    tf.debugging.assert_non_negative(offset)  # a negative index would count from the end
    data = tf.io.decode_raw(tf.strings.substr(contents, offset, size), tf.uint8)
    tf.debugging.assert_equal(tf.size(data), size)
    return tf.cast(data, tf.int32)


def decode_integer(data: tf.Tensor, big_endian: tf.Tensor | bool = False) -> tf.Tensor:
    """Decodes unsigned integers from bytes; fails if one is 2 ** 31 or more.

    Args:
        data: `[..., N]` int32, N bytes per integer.
        big_endian: `[]` bool, whether the highest byte comes first. Defaults to False.

    Returns:
        `[...]` int32.
    """
    data = tf.where(big_endian, data, tf.reverse(data, [-1]))
    size = data.shape[-1]
    powers = [256**power for power in reversed(range(size))]  # pyright: ignore[reportArgumentType]  # static
    value = tf.reduce_sum(tf.cast(data, tf.int64) * tf.constant(powers, tf.int64), axis=-1)
    tf.debugging.assert_less(value, tf.constant(2**31, tf.int64))
    return tf.cast(value, tf.int32)


def read_integer(
    contents: tf.Tensor, offset: tf.Tensor | int, size: int, *, big_endian: tf.Tensor | bool = False
) -> tf.Tensor:
    """Returns the unsigned integer in the `size` bytes from index `offset` of a file, `[]` int32."""
    return decode_integer(tf.ensure_shape(read_bytes(contents, offset, size), [size]), big_endian)


def find(contents: tf.Tensor, word: bytes) -> tf.Tensor:
    """Returns the index of the first occurrence of a word in a file, `[]` int32, or -1 if there is none.

    Args:
        contents: `[]` string, the bytes of the file.
        word: Bytes to find.
    """
    parts = tf.strings.split(contents, word, maxsplit=1)
    return tf.where(tf.size(parts) == 2, tf.strings.length(parts[0]), -1)


def skip_parts(
    is_other: Callable[[tf.Tensor], tf.Tensor], after: Callable[[tf.Tensor], tf.Tensor], start: int
) -> tf.Tensor:
    """Returns the index of the first part of a file for which `is_other` returns False.

    It skips at most MAX_PARTS parts.

    Args:
        is_other: Function of the index of a part, `[]` int32, that returns `[]` bool: whether to skip the
            part.
        after: Function of the index of a part that returns the index of the next one, `[]` int32.
        start: Int, index of the first part.
    """
    return tf.while_loop(is_other, lambda offset: [after(offset)], [start], maximum_iterations=MAX_PARTS)[0]
