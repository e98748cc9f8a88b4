"""Reads bytes of a file with TensorFlow ops.

Reads are short and at known indices, so no header is copied as a whole.
"""

import tensorflow as tf

MAX_PARTS = 1000  # parts that `skip_parts` skips: a file full of empty parts takes milliseconds, not minutes
BYTES = tf.constant([bytes([value]) for value in range(256)])


def read_bytes(contents, at, size):
    """Returns bytes of a file as `[size]` int32; fails if the file ends before.

    Args:
        contents: `[]` string, the bytes of the file.
        at: `[]` int32, index of the first byte.
        size: Int or `[]` int32, number of bytes.
    """
    tf.debugging.assert_non_negative(at)  # a negative index would count from the end
    data = tf.io.decode_raw(tf.strings.substr(contents, at, size), tf.uint8)
    tf.debugging.assert_equal(tf.size(data), size)
    return tf.cast(data, tf.int32)


def number(digits, big_endian=False):
    """Decodes unsigned integers from bytes; fails if one is 2 ** 31 or more.

    Args:
        digits: `[..., N]` int32, N bytes per integer.
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
    """Returns the unsigned integer in the `size` bytes at index `at` of a file, `[]` int32."""
    return number(tf.ensure_shape(read_bytes(contents, at, size), [size]), big_endian)


def find(contents, word):
    """Returns the index of the first occurrence of a word in a file, `[]` int32, or -1 if there is none.

    Args:
        contents: `[]` string, the bytes of the file.
        word: Bytes to find.
    """
    parts = tf.strings.split(contents, word, maxsplit=1)
    return tf.where(tf.size(parts) == 2, tf.strings.length(parts[0]), -1)


def skip_parts(is_other, after, start):
    """Returns the index of the first part of a file for which `is_other` returns False.

    It skips at most MAX_PARTS parts.

    Args:
        is_other: Function of the index of a part, `[]` int32, that returns `[]` bool: whether to skip the
            part.
        after: Function of the index of a part that returns the index of the next one, `[]` int32.
        start: Int, index of the first part.
    """
    return tf.while_loop(is_other, lambda at: [after(at)], [start], maximum_iterations=MAX_PARTS)[0]
