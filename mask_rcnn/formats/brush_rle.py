"""The run lengths of Label Studio's brush: a stream of bits, written as a list of bytes.

The format is rle-pack of the project thi.ng/umbrella. Numbers are unsigned, highest bit first:

1. 32 bits: number of values. Label Studio has four for each pixel, RGBA, row by row.
2. 5 bits: bits of a value, minus 1.
3. Four times 4 bits: bits of a length, minus 1, for each of four kinds.
4. Until all values are there: 1 bit, whether a run follows; 2 bits, the kind; the length minus 1 in the bits
   of that kind. A run has one value that is repeated, else there are as many values as the length says.

The mask is where alpha is not 0. Runs alone are written, of 0 and 255.
"""

import numpy as np

LENGTH_BITS = (3, 4, 8, 16)  # of the four kinds that Label Studio writes
HEADER_BITS = 32 + 5 + 4 * 4
CHANNELS = 4  # RGBA


def encode_brush(mask):
    """Returns the bytes of a mask, `[N]` uint8; the inverse of `decode_brush`.

    Args:
        mask: `[H, W]` bool.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=not flat[0]))
    lengths = np.diff(starts, append=flat.size) * CHANNELS
    words = [f"{flat.size * CHANNELS:032b}{7:05b}", *(f"{bits - 1:04b}" for bits in LENGTH_BITS)]
    for value, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        while length:
            part = min(length, 1 << LENGTH_BITS[-1])
            kind, bits = next(each for each in enumerate(LENGTH_BITS) if part <= 1 << each[1])
            words.append(f"1{kind:02b}{part - 1:0{bits}b}{255 * value:08b}")
            length -= part
    return np.packbits(np.frombuffer("".join(words).encode(), "uint8") - ord("0"))


def decode_brush(data, size):
    """Returns the mask of a list of bytes, `[H, W]` bool.

    Args:
        data: `[N]` uint8.
        size: (height, width) of the image.

    Raises:
        ValueError: The stream ends too early, or has another number of values.
    """
    bits = np.unpackbits(np.append(data, np.zeros(8, "uint8")))
    header = _Bits(bits[: HEADER_BITS if len(data) * 8 >= HEADER_BITS else 0])
    total, value_bits = header.read(32), header.read(5) + 1
    length_bits = [header.read(4) + 1 for _ in range(4)]
    if total != 4 * size[0] * size[1]:
        raise ValueError(f"{total} values, where four for each pixel are {4 * size[0] * size[1]}")
    stream = _Bits(bits[: len(data) * 8], HEADER_BITS)
    values, lengths, done = [], [], 0
    while done < total:
        is_run, kind = stream.read(1), stream.read(2)
        length = stream.read(length_bits[kind]) + 1
        done += length
        if is_run:
            values.append(stream.read(value_bits))
            lengths.append(length)
        else:
            values += stream.read_many(value_bits, length)
            lengths += [1] * length
    if done != total:
        raise ValueError(f"{done} values, where {total} were declared")
    pixels = np.repeat(np.array(values) != 0, lengths)
    return pixels[3::4].reshape(size)


class _Bits:
    """A position in a stream of bits.

    Args:
        bits: `[N]` uint8, 0 or 1.
        position: Number of the first bit.
    """

    def __init__(self, bits, position=0):
        self.bits, self.position = bits, position

    def read(self, count):
        """Returns the number of the next `count` bits."""
        return self.read_many(count, 1)[0]

    def read_many(self, count, times):
        """Returns `times` numbers of `count` bits each."""
        end = self.position + count * times
        if end > len(self.bits):
            raise ValueError("the run lengths end too early")
        rows = self.bits[self.position : end].reshape(times, count)
        self.position = end
        return (rows @ (1 << np.arange(count, dtype="int64")[::-1])).tolist()
