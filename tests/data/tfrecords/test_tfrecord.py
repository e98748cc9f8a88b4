"""Tests of TFRecord files and examples: equal to TensorFlow's, with one clear error for each damage."""

import io

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.data.tfrecords.crc32c import crc32c, masked_crc32c
from mask_rcnn.data.tfrecords.tfrecord import decode_example, encode_example, read_records, write_record

# RFC 3720, appendix B.4, and the check value in the catalog of CRCs.
KNOWN = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
]


def random_example(random):
    """Returns random features of an example, `{name: values}`, with float32 numbers."""
    features = {"bytes": [random.bytes(int(random.integers(0, 40))) for _ in range(random.integers(1, 4))]}
    features["floats/ä"] = random.normal(size=random.integers(1, 9)).astype("float32").tolist()
    features["ints"] = random.integers(-(2**63), 2**63 - 1, random.integers(1, 9)).tolist()
    return features


def tensorflow_example(features):
    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    lists = {
        "bytes_list": tf.train.BytesList,
        "float_list": tf.train.FloatList,
        "int64_list": tf.train.Int64List,
    }
    made = {}
    for name, values in features.items():
        kind = kinds[type(values[0])]
        made[name] = tf.train.Feature(**{kind: lists[kind](value=values)})
    return tf.train.Example(features=tf.train.Features(feature=made))


def file_of(*records):
    file = io.BytesIO()
    for record in records:
        write_record(file, record)
    return file.getvalue()


def read(contents):
    return [data for _, data in read_records(io.BytesIO(contents), "a.tfrecord")]


@pytest.mark.parametrize(("data", "expected"), KNOWN)
def test_the_checksum_of_known_bytes(data, expected):
    assert crc32c(data) == expected


def test_a_checksum_is_that_of_the_definition_for_every_length():
    data = np.random.default_rng(0).bytes(300)
    crc = 0xFFFFFFFF
    for length, byte in enumerate(data, start=1):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        assert crc32c(data[:length]) == crc ^ 0xFFFFFFFF, length


def test_examples_are_those_of_tensorflow_in_both_directions():
    random = np.random.default_rng(1)
    for _ in range(200):
        features = random_example(random)
        theirs = tensorflow_example(features)
        assert decode_example(theirs.SerializeToString()) == features
        assert tf.train.Example.FromString(encode_example(features)) == theirs


def test_a_feature_without_values_is_empty():
    example = tf.train.Example()
    example.features.feature["nothing"].SetInParent()
    example.features.feature["ints"].int64_list.SetInParent()
    assert decode_example(example.SerializeToString()) == {"nothing": [], "ints": []}


def test_records_are_those_of_tensorflow_in_both_directions(tmp_path):
    random = np.random.default_rng(2)
    records = [random.bytes(int(size)) for size in (0, 1, 3, 4, 5, 1000, 100_001)]
    (tmp_path / "ours").write_bytes(file_of(*records))
    found = tf.data.TFRecordDataset(str(tmp_path / "ours")).as_numpy_iterator()
    assert list(found) == records
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    contents = (tmp_path / "theirs").read_bytes()
    assert read(contents) == records
    offsets = [offset for offset, _ in read_records(io.BytesIO(contents), "")]
    assert [
        contents[start : start + len(each)] for start, each in zip(offsets, records, strict=True)
    ] == records


def test_every_damaged_byte_and_every_cut_is_an_error_that_names_the_record():
    first = file_of(b"first")
    contents = first + file_of(b"second record")
    for position in range(len(contents)):
        damaged = bytearray(contents)
        damaged[position] ^= 0x10
        with pytest.raises(ValueError, match=rf"Received: a.tfrecord, record {position >= len(first):d}, "):
            read(bytes(damaged))
        if position not in (0, len(first)):
            with pytest.raises(ValueError, match="which ends within the record"):
                read(contents[:position])


def test_a_length_beyond_the_file_takes_no_memory():
    huge = (2**62).to_bytes(8, "little")
    with pytest.raises(ValueError, match="ends within the record"):
        read(huge + masked_crc32c(huge).to_bytes(4, "little") + b"few bytes")


def test_a_compressed_file_says_so(tmp_path):
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(tmp_path / "a"), options) as writer:
        writer.write(b"record")
    with pytest.raises(ValueError, match="which is compressed by gzip. Decompress it"):
        read((tmp_path / "a").read_bytes())


@pytest.mark.parametrize("data", [b"\xff\xff", b"no example", b"\x0a\x05\x0a"])
def test_bytes_that_are_no_example_are_an_error(data):
    with pytest.raises(ValueError, match="not a `tf.train.Example`"):
        decode_example(data)
