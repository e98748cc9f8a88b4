"""Reads the standard metadata of a TFLite file by the field numbers of `metadata_schema.fbs`."""

import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from mask_rcnn.export.runners import lite_runner
from mask_rcnn.export.writers import lite_file, lite_metadata
from mask_rcnn.export.writers.lite_schema import table, to_bytes
from mask_rcnn.structures import Category


def place(table, slot):
    """Returns the position of a field in a table, and fails if the table lacks it."""
    offset = table.Offset(4 + 2 * slot)
    assert offset, slot
    return offset + table.Pos


def child(table, slot):
    return Table(table.Bytes, table.Indirect(place(table, slot)))


def text(table, slot):
    return table.String(place(table, slot)).decode()


def children(table, slot):
    start = table.Vector(place(table, slot) - table.Pos)
    count = table.VectorLen(place(table, slot) - table.Pos)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(count)]


def numbers(table, slot):
    return table.GetVectorAsNumpy(number_types.Float32Flags, table.Offset(4 + 2 * slot)).tolist()


def root(content):
    assert content[4:8] == b"M001"
    return Table(bytearray(content), encode.Get(number_types.UOffsetTFlags.packer_type, content, 0))


@pytest.fixture(scope="module")
def content(tiny_tflite):
    """The flatbuffer of a file."""
    return tiny_tflite.read_bytes()[: lite_runner.Runner(tiny_tflite).metadata["model_bytes"]]


@pytest.fixture(scope="module")
def metadata(content):
    """The root table of the metadata in the flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (entry,) = [each for each in model.metadata if each.name == b"TFLITE_METADATA"]
    return root(model.buffers[entry.buffer].data.tobytes())


def test_inputs_and_outputs_are_described_in_the_order_of_the_graph(metadata, content):
    (graph,) = children(metadata, 3)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_list()["serving_default"]
    shapes = {
        tuple(each["shape"]): text(one, 0)
        for each, one in zip(interpreter.get_input_details(), children(graph, 2), strict=True)
    }
    assert shapes == {(1, 64, 96, 3): "image", (1, 2): "image_size"}
    names = [text(each, 0) for each in children(graph, 3)]
    assert sorted(names) == sorted(signature["outputs"])
    sizes = [tuple(each["shape"]) for each in interpreter.get_output_details()]
    assert sizes[names.index("num_detections")] == (1,) and sizes[names.index("detection_boxes")] == (1, 8, 4)


def test_the_image_is_not_normalized_outside(metadata):
    (image,) = [each for each in children(children(metadata, 3)[0], 2) if text(each, 0) == "image"]
    properties = child(child(image, 3), 1)
    assert properties.Get(number_types.Int8Flags, place(properties, 0)) == 1  # RGB
    size = child(properties, 1)
    sides = [size.Get(number_types.Uint32Flags, place(size, slot)) for slot in (0, 1)]
    assert sides == [96, 64]  # width, height
    (process,) = children(image, 4)
    options = child(process, 1)
    assert (numbers(options, 0), numbers(options, 1)) == ([0], [1])  # mean, std


def test_classes_have_a_label_file_whose_first_line_is_class_0(metadata, tiny_tflite):
    (classes,) = [
        each for each in children(children(metadata, 3)[0], 3) if text(each, 0) == "detection_classes"
    ]
    (labels,) = children(classes, 6)
    assert text(labels, 0) == "labels_by_value.txt"
    assert labels.Get(number_types.Int8Flags, place(labels, 2)) == 3  # TENSOR_VALUE_LABELS
    with zipfile.ZipFile(tiny_tflite) as archive:
        lines = archive.read("labels_by_value.txt").decode().splitlines()
        assert {text(each, 0) for each in children(metadata, 6)} < set(archive.namelist())
    assert lines == ["background", *lite_runner.Runner(tiny_tflite).labels]


def test_a_file_with_metadata_computes_the_same_to_the_bit(content):
    described = lite_metadata.add_metadata(
        content,
        {
            "size": [64, 96],
            "channels": 3,
            "dtype": "uint8",
            "centered": False,
        },
    )
    assert len(described) > len(content) and lite_file.operators(described) == lite_file.operators(content)
    image = np.random.default_rng(0).integers(0, 256, [1, 64, 96, 3]).astype("uint8")
    first, second = (
        Interpreter(model_content=each).get_signature_runner()(
            image=image, image_size=np.array([[64, 96]], "int32")
        )
        for each in (content, described)
    )
    assert first["num_detections"][0] > 0
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_gray_image_of_16_bits_in_the_middle_is_described():
    image = root(
        to_bytes(lite_metadata._image({"size": [32, 48], "channels": 1, "dtype": "uint16", "centered": True}))
    )
    properties, stats = child(child(image, 3), 1), child(image, 5)
    assert properties.Get(number_types.Int8Flags, place(properties, 0)) == 2  # GRAYSCALE
    assert (numbers(stats, 0), numbers(stats, 1)) == ([65535], [0])  # max, min
    assert "in the center" in text(image, 1) and "uint16" in text(image, 1)


def test_labels_are_numbered_from_the_first_line():
    categories = (Category(5, "cat"), Category(9, "größe"))
    assert lite_metadata.labels_by_value(categories) == {"labels_by_value.txt": "background\ncat\ngröße\n"}


def test_an_unknown_field_of_a_table_is_an_error():
    with pytest.raises(KeyError, match="color"):
        to_bytes(table("ImageProperties", color=np.int8(1)))
