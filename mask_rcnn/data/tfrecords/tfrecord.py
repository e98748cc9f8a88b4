"""Reads and writes TFRecord files and `tf.train.Example` without TensorFlow, so that workers start faster.

File format (tensorflow/core/lib/io/record_writer.h and tensorflow/core/example/feature.proto). A record is

1. 8 bytes: length of the data, little endian. 4 bytes: masked CRC-32C of the length.
2. The data. 4 bytes: masked CRC-32C of the data.

The data are an `Example`, a map from names to lists of bytes, float32 or int64.
"""

import functools
import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import IO, Any

from google.protobuf.message import DecodeError

from mask_rcnn.data.tfrecords.crc32c import masked_crc32c
from mask_rcnn.data.tfrecords.protobuf import message_class

HEADER, FOOTER = struct.Struct("<QI"), struct.Struct("<I")
LENGTH = struct.Struct("<Q")
KINDS = ("bytes_list", "float_list", "int64_list")  # fields 1 to 3 of a Feature


def write_record(file: IO[bytes], data: bytes) -> None:
    """Writes a record to a binary file.

    Args:
        file: Binary file, open for writing.
        data: Bytes of the record.
    """
    length = LENGTH.pack(len(data))
    file.write(length + FOOTER.pack(masked_crc32c(length)))
    file.write(data)
    file.write(FOOTER.pack(masked_crc32c(data)))


def record_bytes(data: bytes) -> int:
    """Returns the size of a record in a file, in bytes."""
    return HEADER.size + len(data) + FOOTER.size


def read_records(file: IO[bytes], name: object) -> Iterator[tuple[int, bytes]]:
    """Yields (offset of the data in the file, data) of each record. Both checksums are verified.

    Args:
        file: Binary file at its start.
        name: Path of the file, for error messages.

    Raises:
        ValueError: The file is not a TFRecord file, ends inside a record, or has a wrong checksum.
    """
    offset = 0
    for number in itertools.count():
        header = file.read(HEADER.size)
        if not header:
            return
        length = _length_of(header, name, number)
        data, footer = _read_at_most(file, length), file.read(FOOTER.size)
        if len(data) < length or len(footer) < FOOTER.size:
            raise _damaged(
                name, number, received="which ends within the record", advice="Copy the file again."
            )
        if masked_crc32c(data) != FOOTER.unpack(footer)[0]:
            raise _damaged(
                name, number, received="whose checksum is wrong", advice="Copy or write the file again."
            )
        yield offset + HEADER.size, data
        offset += HEADER.size + length + FOOTER.size


def _length_of(header, name, number):
    if len(header) < HEADER.size:
        raise _damaged(name, number, received="which ends within the record", advice="Copy the file again.")
    length, checksum = HEADER.unpack(header)
    if masked_crc32c(header[: LENGTH.size]) == checksum:
        return length
    if header.startswith(b"\x1f\x8b") and number == 0:
        raise _damaged(
            name, number, received="which is compressed by gzip", advice="Decompress it (`gunzip`)."
        )
    raise _damaged(
        name,
        number,
        received="whose length has a wrong checksum",
        advice="Is it a TFRecord file? Copy it again.",
    )


def _read_at_most(file: IO[bytes], length: int, part: int = 1 << 26) -> bytes:
    """Reads `length` bytes in parts, so that a wrong length needs no more memory than the file has bytes."""
    parts = []
    while length > 0 and (data := file.read(min(length, part))):
        parts.append(data)
        length -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _damaged(name, number, *, received, advice):
    return ValueError(
        f"Expected a complete TFRecord file. Received: {name}, record {number}, {received}. {advice}"
    )


def encode_example(features: Mapping[str, list]) -> bytes:
    """Returns the bytes of an `Example`.

    Args:
        features: {name: list of bytes, float or int}. Each list is not empty and has a single type.
    """
    example = _example_class()()
    for name, values in features.items():
        kind = KINDS[(bytes, float, int).index(type(values[0]))]
        getattr(example.features.feature[name], kind).value.extend(values)
    # With `deterministic`, the same features always give the same bytes.
    return example.SerializeToString(deterministic=True)


def decode_example(data: bytes) -> dict[str, list]:
    """Returns the features of an `Example`, {name: list of bytes, float or int}; [] for an untyped feature.

    Args:
        data: Bytes of the `Example`.

    Raises:
        ValueError: The bytes are not an `Example`.
    """
    example = _example_class()()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise ValueError("not a `tf.train.Example`") from error
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[name] = list(getattr(feature, kind).value) if kind else []
    return features


@functools.cache
def _example_class() -> type[Any]:
    lists = {
        "BytesList": ("repeated bytes value",),
        "FloatList": ("repeated float value",),
        "Int64List": ("repeated int64 value",),
    }
    kinds = zip(lists, KINDS, strict=True)
    return message_class(
        "Example",
        {
            **lists,
            "Feature": [f"oneof {name} {kind}" for name, kind in kinds],
            "Features": ("repeated Features.FeatureEntry feature",),
            "Features.FeatureEntry": ("string key", "Feature value"),
            "Example": ("Features features",),
        },
    )
