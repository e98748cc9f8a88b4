"""Standard metadata of TFLite files: describes the inputs and outputs for tools other than mask_rcnn.

Readers of `TFLITE_METADATA` number the lines of a label file from 0. Class 0 is the background here, so
LABELS_BY_VALUE has an extra first line for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mask_rcnn import __version__
from mask_rcnn.export.writers.assets import CATEGORIES, CONFIG, LABELS
from mask_rcnn.export.writers.lite_file import METADATA
from mask_rcnn.export.writers.lite_schema import Table, table, to_bytes
from mask_rcnn.structures import Category

BUFFER = "TFLITE_METADATA"
LABELS_BY_VALUE = "labels_by_value.txt"
BACKGROUND = "background"

# Constants of the schema.
RGB, GRAYSCALE = np.int8(1), np.int8(2)  # ColorSpaceType; 0 is unknown
BOUNDARIES, RATIO = np.int8(1), np.int8(0)  # BoundingBoxType, CoordinateType
DESCRIPTIONS, TENSOR_VALUE_LABELS = np.int8(1), np.int8(3)  # AssociatedFileType
PROPERTIES = {"FeatureProperties": 1, "ImageProperties": 2, "BoundingBoxProperties": 3}  # of a union
NORMALIZATION = np.uint8(1)
TOP_LEFT_BOTTOM_RIGHT = np.array([1, 0, 3, 2], "uint32")  # indices of left, top, right and bottom in a box
PARSER_VERSION = "1.2.0"  # first version with groups of tensors

OUTPUTS = {
    "detection_boxes": "Top, left, bottom and right of each object, fractions of the image, best first.",
    "detection_scores": "Score of each object, 0 to 1.",
    "detection_classes": f"Class of each object: line i of {LABELS_BY_VALUE}, from 0. Class 0 is no object.",
    "num_detections": "Number of objects. Rows after them are zeros.",
    "detection_masks": "Mask of each object: probabilities on a grid inside its box.",
    "detection_keypoint_heatmaps": "Heatmaps of keypoints, logits on a grid inside the box of each object.",
}
# First and last axis of the values of one object. Axis 0 is the batch, axis 1 the objects.
AXES = {
    "detection_boxes": (2, 2),
    "detection_scores": (2, 2),
    "detection_classes": (2, 2),
    "detection_masks": (2, 3),
    "detection_keypoint_heatmaps": (2, 3),
}


def labels_by_value(categories: Iterable[Category]) -> dict[str, str]:
    """Returns the label file, `{file name: text}`. Line i, counted from 0, is the name of class i."""
    names = (BACKGROUND, *(category.name for category in categories))
    return {LABELS_BY_VALUE: "".join(f"{name}\n" for name in names)}


def add_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Returns a TFLite file with standard metadata added.

    Args:
        content: Bytes of the flatbuffer, with one signature.
        metadata: Dict of `lite.runner_metadata`.

    Returns:
        Bytes of the flatbuffer with the same graph and weights, and one more buffer.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)  # all its fields are declared as optional
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    described = to_bytes(
        _model(
            _in_order(signature.inputs, graph.inputs), _in_order(signature.outputs, graph.outputs), metadata
        )
    )
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = BUFFER, len(model.buffers)
    buffer.data = np.frombuffer(described, "uint8")  # pyright: ignore[reportAttributeAccessIssue]  # not a list
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _in_order(tensors: Iterable[Any], indices: Iterable[int]) -> list[str]:
    """Returns the names of a signature in the order of the tensors of its graph."""
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in tensors}
    return [names[index] for index in indices]


def _model(inputs: Sequence[str], outputs: Sequence[str], metadata: Mapping[str, Any]) -> Table:
    files = {
        LABELS: "Names of the classes: class i is line i, counted from 1.",
        CATEGORIES: "Number of each class, and its id and name in the data set.",
        CONFIG: "Configuration of the model.",
        METADATA: "Settings that lite_runner.py needs.",
    }
    height, width = metadata["size"]
    per_object = [name for name in outputs if name != "num_detections"]
    graph = table(
        "SubGraphMetadata",
        input_tensor_metadata=[_image(metadata) if name == "image" else _image_size() for name in inputs],
        output_tensor_metadata=[_output(name) for name in outputs],
        output_tensor_groups=[table("TensorGroup", name="detections", tensor_names=per_object)],
    )
    return table(
        "ModelMetadata",
        name="Mask R-CNN",
        description=f"Detects objects in an image inside a frame of {width} x {height} pixels. "
        "Written by mask-rcnn.",
        version=__version__,
        subgraph_metadata=[graph],
        associated_files=[_file(name, text, DESCRIPTIONS) for name, text in files.items()],
        min_parser_version=PARSER_VERSION,
    )


def _image(metadata: Mapping[str, Any]) -> Table:
    height, width = metadata["size"]
    position = "in the center" if metadata["centered"] else "in the top left corner"
    normalization = table("NormalizationOptions", mean=_vector(0), std=_vector(1))
    return table(
        "TensorMetadata",
        name="image",
        description=f"A frame with the image, resized to fit, {position}. The other pixels are 0. "
        f"Pixels are {metadata['dtype']} and not normalized, because the model normalizes them.",
        content=_content(
            "ImageProperties",
            color_space={3: RGB, 1: GRAYSCALE}.get(metadata["channels"]),
            default_size=table("ImageSize", width=np.uint32(width), height=np.uint32(height)),
        ),
        process_units=[table("ProcessUnit", options_type=NORMALIZATION, options=normalization)],
        stats=table("Stats", max=_vector(np.iinfo(metadata["dtype"]).max), min=_vector(0)),
    )


def _image_size() -> Table:
    return table(
        "TensorMetadata",
        name="image_size",
        description="Height and width of the resized image in the frame. The other pixels are padding.",
        content=_content("FeatureProperties"),
    )


def _output(name: str) -> Table:
    if name == "detection_boxes":
        order = {"index": TOP_LEFT_BOTTOM_RIGHT, "type": BOUNDARIES, "coordinate_type": RATIO}
        content = _content("BoundingBoxProperties", AXES[name], **order)
    else:
        content = _content("FeatureProperties", AXES.get(name))
    labels = _file(
        LABELS_BY_VALUE, "Names of the classes: class i is line i, counted from 0.", TENSOR_VALUE_LABELS
    )
    return table(
        "TensorMetadata",
        name=name,
        description=OUTPUTS.get(name, "Output of a registered head for each object."),
        content=content,
        associated_files=[labels] if name == "detection_classes" else None,
    )


def _content(kind: str, axes: tuple[int, int] | None = None, **properties: Any) -> Table:
    return table(
        "Content",
        content_properties_type=np.uint8(PROPERTIES[kind]),
        content_properties=table(kind, **properties),
        range=axes and table("ValueRange", min=np.int32(axes[0]), max=np.int32(axes[1])),
    )


def _file(name: str, description: str, type: np.int8) -> Table:
    return table("AssociatedFile", name=name, description=description, type=type)


def _vector(number: float) -> np.ndarray:
    return np.array([number], "float32")
