"""Bytes of a file in a graph: short reads at known places, so that no header is copied as a whole."""

import tensorflow as tf

MAX_PARTS = 1000  # that are passed: a file of nothing but empty ones takes milliseconds, not minutes
BYTES = tf.constant([bytes([value]) for value in range(256)])


def read_bytes(contents, at, size):
    """Returns `size` bytes of a file as `[size]` int32; fails where the file ends before.

    Args:
        contents: `[]` string, the bytes of the file.
        at: `[]` int32, index of the first byte.
        size: Number of bytes, an int or `[]` int32.
    """
    tf.debugging.assert_non_negative(at)  # a negative one would count from the end
    data = tf.io.decode_raw(tf.strings.substr(contents, at, size), tf.uint8)
    tf.debugging.assert_equal(tf.size(data), size)
    return tf.cast(data, tf.int32)


def number(digits, big_endian=False):
    """Returns the unsigned integers that bytes stand for; fails where one is 2 ** 31 or more.

    Args:
        digits: `[..., N]` int32.
        big_endian: `[]` bool, whether the highest byte comes first. Defaults to False.

    Returns:
        `[...]` int32.
    """
    digits = tf.where(big_endian, digits, tf.reverse(digits, [-1]))
    powers = tf.constant([256**power for power in reversed(range(digits.shape[-1]))], tf.int64)
    value = tf.reduce_sum(tf.cast(digits, tf.int64) * powers, axis=-1)
    tf.debugging.assert_less(value, tf.constant(2**31, tf.int64))
    return tf.cast(value, tf.int32)


def read_number(contents, at, size, big_endian=False):
    """Returns the unsigned integer of `size` bytes at a place of a file, `[]` int32."""
    return number(tf.ensure_shape(read_bytes(contents, at, size), [size]), big_endian)


def find(contents, word):
    """Returns the index of the first place of a word in a file, `[]` int32; -1 if it is not there.

    Args:
        contents: `[]` string, the bytes of the file.
        word: bytes.
    """
    parts = tf.strings.split(contents, word, maxsplit=1)
    return tf.where(tf.size(parts) == 2, tf.strings.length(parts[0]), -1)


def walk(is_other, after, start):
    """Returns the first place from `start` on that `is_other` denies, after at most MAX_PARTS parts.

    Args:
        is_other: function of an index, `[]` int32, to `[]` bool: whether another part begins there.
        after: function of the index of a part to that of the next one.
        start: index of the first part, an int.
    """
    return tf.while_loop(is_other, lambda at: [after(at)], [start], maximum_iterations=MAX_PARTS)[0]
