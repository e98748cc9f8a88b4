"""CRC-32C, the checksum of TFRecord files (RFC 3720, appendix B.4), in NumPy: about 200 MB/s.

A CRC is linear over bits. The CRC of data in two parts is the XOR of two CRCs. One is that of the second
part. The other is that of the first part, followed by as many zero bytes as the second part has. So the CRCs
of all 4-byte words are computed at once, then neighboring pairs are joined, then pairs of pairs, and so on.
"""

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78  # Castagnoli polynomial, lowest bit first
ALL_ONES = 0xFFFFFFFF
MASK_ROTATION, MASK_DELTA = 15, 0xA282EAD8  # TFRecord's mask, for data that itself contains checksums


def masked_crc32c(data: bytes) -> int:
    """Returns the masked checksum of bytes as TFRecord files store it, an int below 2**32."""
    crc = crc32c(data)
    rotated = crc >> MASK_ROTATION | crc << 32 - MASK_ROTATION & ALL_ONES
    return rotated + MASK_DELTA & ALL_ONES


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C of bytes, an int below 2**32."""
    if len(data) < 4:
        return _crc_of_bytes(data)
    padding = -len(data) % 4  # leading zeros have no effect if the register starts at 0
    padded = np.zeros((len(data) + padding) // 4, "<u4")
    in_bytes = padded.view("uint8")
    in_bytes[padding:] = np.frombuffer(data, "uint8")
    in_bytes[padding : padding + 4] ^= 0xFF  # has the effect of a register that starts with all ones
    tables = _moves()
    values = _move(tables[0], padded)
    for table in tables:
        if len(values) == 1:
            break
        if len(values) % 2:
            values = np.concatenate([np.zeros(1, "uint32"), values])
        values = _move(table, values[::2]) ^ values[1::2]
    return int(values[0]) ^ ALL_ONES


def _crc_of_bytes(data):
    table, crc = _byte_table(), ALL_ONES
    for byte in data:
        crc = int(table[(crc ^ byte) & 0xFF]) ^ crc >> 8
    return crc ^ ALL_ONES


@functools.cache
def _byte_table():
    """Returns the register after each single byte, `[256]` uint32."""
    values = np.arange(256, dtype="uint32")
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(POLYNOMIAL), values >> 1)
    return values


@functools.cache
def _moves():
    """Returns tables that advance a register by 4, 8, 16, ... zero bytes, 32 arrays `[4, 256]` uint32."""
    byte_table = _byte_table()
    values = np.arange(256, dtype="uint32") << np.arange(0, 32, 8, dtype="uint32")[:, None]
    for _ in range(4):
        values = byte_table[values & 0xFF] ^ values >> 8
    tables = [values]
    for _ in range(31):
        tables.append(_move(tables[-1], tables[-1]))
    return tables


def _move(table, values):
    """Returns registers, uint32, advanced by the zero bytes of a table."""
    parts = (values >> np.uint32(shift) & 0xFF for shift in (0, 8, 16, 24))
    first, second, third, fourth = (row[part] for row, part in zip(table, parts, strict=True))
    return first ^ second ^ third ^ fourth
