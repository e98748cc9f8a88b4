"""Makes protocol buffer classes from field numbers, without importing TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {"bytes": FIELD.TYPE_BYTES, "string": FIELD.TYPE_STRING, "float": FIELD.TYPE_FLOAT}
TYPES |= {"int32": FIELD.TYPE_INT32, "int64": FIELD.TYPE_INT64}


def message_class(name: str, messages: Mapping[str, Sequence[str]]) -> type[Any]:
    """Returns the class of a protocol buffer message.

    Args:
        name: Name of the message.
        messages: {name: fields} of this message and of all messages inside it. Fields are texts such as
            "bytes value" in the order of their numbers, starting with 1. They begin with "repeated" or
            "oneof" as in the schema. The fields of "Name.Entry" are key and value of a map in `Name`.
    """
    file = descriptor_pb2.FileDescriptorProto(name="messages.proto", package="messages", syntax="proto3")
    types = {}
    for message, fields in messages.items():
        parent, _, entry = message.rpartition(".")
        types[message] = (
            types[parent].nested_type.add(name=entry) if parent else file.message_type.add(name=message)
        )
        types[message].options.map_entry = bool(parent)
        for number, field in enumerate(fields, start=1):
            declared, _, field_name = field.rpartition(" ")
            _add_field(types[message], number, declared=declared, name=field_name)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"messages.{name}"))


def _add_field(parent, number, *, declared, name):
    label, _, kind = declared.rpartition(" ")
    field = parent.field.add(name=name, number=number)
    field.label = FIELD.LABEL_REPEATED if label == "repeated" else FIELD.LABEL_OPTIONAL
    field.type = TYPES.get(kind, FIELD.TYPE_MESSAGE)
    if kind not in TYPES:
        field.type_name = f".messages.{kind}"
    if label == "oneof":
        if not parent.oneof_decl:
            parent.oneof_decl.add(name="kind")
        field.oneof_index = 0
