"""Tables of `metadata_schema.fbs`, the standard metadata of TFLite files, and their flatbuffer encoding.

Source: the schema of TensorFlow Lite Support and MediaPipe, version 1.5.0, identifier M001.
"""

from typing import Any, NamedTuple

import numpy as np

IDENTIFIER = b"M001"
# Fields of each table in the order of the schema, up to the last field that is used here.
FIELDS = {
    "ModelMetadata": (
        "name",
        "description",
        "version",
        "subgraph_metadata",
        "author",
        "license",
        "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": (
        "name",
        "description",
        "input_tensor_metadata",
        "output_tensor_metadata",
        "associated_files",
        "input_process_units",
        "output_process_units",
        "input_tensor_groups",
        "output_tensor_groups",
    ),
    "TensorMetadata": (
        "name",
        "description",
        "dimension_names",
        "content",
        "process_units",
        "stats",
        "associated_files",
    ),
    "TensorGroup": ("name", "tensor_names"),
    "AssociatedFile": ("name", "description", "type"),
    "Content": ("content_properties_type", "content_properties", "range"),
    "ValueRange": ("min", "max"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space", "default_size"),
    "ImageSize": ("width", "height"),
    "BoundingBoxProperties": ("index", "type", "coordinate_type"),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "Stats": ("max", "min"),
}


class Table(NamedTuple):
    """A table of the schema.

    Args:
        kind: Name of the table, a key of FIELDS.
        values: `{field: value}`. A value is a str, a NumPy scalar or vector of the schema's type, a `Table`,
            or a list of str or `Table`.
    """

    kind: str
    values: dict[str, Any]


def table(kind: str, **values: Any) -> Table:
    """Returns the `Table` of a kind with the given fields. Fields that are None are left out."""
    return Table(kind, {name: value for name, value in values.items() if value is not None})


def to_bytes(root: Table) -> bytes:
    """Returns the flatbuffer of a `Table`, bytes."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _write(builder, value):
    """Writes a value after the values that it refers to, and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, Table):
        return _write_table(builder, value)
    offsets = [_write(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)  # offsets of 4 bytes
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _write_table(builder, value):
    slots = {name: slot for slot, name in enumerate(FIELDS[value.kind])}
    scalars = {name: field for name, field in value.values.items() if isinstance(field, np.generic)}
    offsets = {name: _write(builder, field) for name, field in value.values.items() if name not in scalars}
    prepend = {
        np.int8: builder.PrependInt8Slot,
        np.uint8: builder.PrependUint8Slot,
        np.int32: builder.PrependInt32Slot,
        np.uint32: builder.PrependUint32Slot,
    }
    builder.StartObject(len(slots))
    for name, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slots[name], offset, 0)
    for name, scalar in scalars.items():
        prepend[type(scalar)](slots[name], int(scalar), 0)
    return builder.EndObject()
