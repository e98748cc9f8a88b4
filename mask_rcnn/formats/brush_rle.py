"""Encodes and decodes the brush masks of Label Studio: run lengths as a stream of bits, in a list of bytes.

The format is rle-pack of the project thi.ng/umbrella. Numbers are unsigned, highest bit first:

1. 32 bits: number of values. Label Studio stores four values per pixel, RGBA, row by row.
2. 5 bits: number of bits of a value, minus 1.
3. Four times 4 bits: number of bits of a length, minus 1, of the length classes 0 to 3.
4. Blocks until all values are read. A block has 1 bit that is 1 for a run, 2 bits with the length class, and
   the length minus 1. A run has one value, which is repeated. Any other block has `length` different values.

A pixel belongs to the mask if its alpha value is not 0. The encoder writes only runs, with the values 0 and
255.
"""

import numpy as np

LENGTH_BITS = (3, 4, 8, 16)  # bits of a length in each of the four length classes that Label Studio writes
HEADER_BITS = 32 + 5 + 4 * 4
CHANNELS = 4  # RGBA


def encode_brush(mask: np.ndarray) -> np.ndarray:
    """Encodes a mask as bytes, `[N]` uint8. The inverse of `decode_brush`.

    Args:
        mask: `[H, W]` bool.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=not flat[0]))
    lengths = np.diff(starts, append=flat.size) * CHANNELS
    codes = [f"{flat.size * CHANNELS:032b}{7:05b}", *(f"{bits - 1:04b}" for bits in LENGTH_BITS)]
    for value, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        while length:
            part = min(length, 1 << LENGTH_BITS[-1])
            length_class, bits = next(each for each in enumerate(LENGTH_BITS) if part <= 1 << each[1])
            codes.append(f"1{length_class:02b}{part - 1:0{bits}b}{255 * value:08b}")
            length -= part
    return np.packbits(np.frombuffer("".join(codes).encode(), "uint8") - ord("0"))


def decode_brush(data: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Decodes the mask of a brush, `[H, W]` bool.

    Args:
        data: `[N]` uint8.
        size: (height, width) of the image.

    Raises:
        ValueError: If the stream ends too early, or has another number of values than the image needs.
    """
    bits = np.unpackbits(np.append(data, np.zeros(8, "uint8")))
    header = _BitReader(bits[: HEADER_BITS if len(data) * 8 >= HEADER_BITS else 0])
    total, value_bits = header.read(32), header.read(5) + 1
    length_bits = [header.read(4) + 1 for _ in range(4)]
    if total != 4 * size[0] * size[1]:
        raise ValueError(f"{total} values instead of {4 * size[0] * size[1]}, four for each pixel")
    stream = _BitReader(bits[: len(data) * 8], HEADER_BITS)
    values, lengths, num_read = [], [], 0
    while num_read < total:
        is_run, length_class = stream.read(1), stream.read(2)
        length = stream.read(length_bits[length_class]) + 1
        num_read += length
        if is_run:
            values.append(stream.read(value_bits))
            lengths.append(length)
        else:
            values += stream.read_many(value_bits, length)
            lengths += [1] * length
    if num_read != total:
        raise ValueError(f"{num_read} values, where {total} were declared")
    pixels = np.repeat(np.array(values) != 0, lengths)
    return pixels[3::4].reshape(size)


class _BitReader:
    """Reads numbers from a stream of bits.

    Args:
        bits: `[N]` uint8, 0 or 1.
        position: Index of the first bit to read. Defaults to 0.
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
