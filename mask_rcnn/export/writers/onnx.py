"""Writes ONNX files: the graph of the TFLite file, for onnxruntime and other ONNX runtimes.

tf2onnx cannot convert the original TensorFlow graph. It supports neither `CombinedNonMaxSuppression` nor the
ragged RoIs per level (`DynamicPartition`). `builtin_ops`, written for TFLite, uses neither.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mask_rcnn.export.export_model import ExportJob, Options
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.export.writers.lite import (
    FLOAT32,
    FramedPredictor,
    count_kernel_weights,
    framed_predictor,
    training_scale,
)
from mask_rcnn.export.writers.lite_file import metadata_file
from mask_rcnn.export.writers.lite_graph import LiteGraph

if TYPE_CHECKING:
    import onnx

OPSET = 18
DEPRECATED_RESIZE = b"tf_half_pixel_for_nn"


def export_job(weights: Path | str, options: Options) -> ExportJob:
    """Returns the `ExportJob` of an ONNX file; see `export_model.py`."""
    import tf2onnx

    predictor = framed_predictor(weights, options)
    return ExportJob(
        write=functools.partial(write, predictor=predictor, converter=tf2onnx),
        reference=Runner(predictor),
        tolerance=FLOAT32,
        least_bytes=4 * count_kernel_weights(predictor),
        training_scale=training_scale(weights, predictor),
    )


def write(path: Path, predictor: FramedPredictor, converter: ModuleType) -> None:
    """Writes an ONNX file with the inputs and outputs of `LiteGraph`. Its metadata holds the text files.

    Args:
        path: Path of the file.
        predictor: `lite.FramedPredictor`, its parts built with `implementation="portable"`.
        converter: The module tf2onnx.
    """
    graph = LiteGraph(predictor.parts, predictor.config, predictor.metadata["size"])
    with _quiet():
        model, _ = converter.convert.from_function(
            graph.function, graph.function.input_signature, opset=OPSET
        )
    replace_deprecated_resize(model.graph)
    assets = write_assets(predictor.config, predictor.categories)
    for name, text in (assets | metadata_file(predictor.metadata)).items():
        model.metadata_props.add(key=name, value=text)
    Path(path).write_bytes(with_checksum(model))


def with_checksum(model: onnx.ModelProto) -> bytes:
    """Returns the bytes of an `onnx.ModelProto` followed by a metadata entry with their SHA-256.

    Concatenated protocol buffers are merged, so the entry is read as part of the metadata.
    """
    content = model.SerializeToString()
    last = type(model)()
    last.metadata_props.add(key="sha256", value=hashlib.sha256(content).hexdigest())
    return content + last.SerializeToString()


def replace_deprecated_resize(graph: onnx.GraphProto) -> None:
    """Replaces the coordinate mode `tf_half_pixel_for_nn`, deprecated since opset 13, in-place.

    tf2onnx writes it for nearest neighbor upsampling (FPN). It reads pixel floor((i + 0.5) / scale).
    `half_pixel` subtracts 0.5 from the position, and `round_prefer_ceil` is floor(position + 0.5): the same
    pixel for every scale.

    Args:
        graph: `onnx.GraphProto`; graphs inside its nodes (branches, loops) are searched too.
    """
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Resize" and attributes["coordinate_transformation_mode"].s == DEPRECATED_RESIZE:
            attributes["coordinate_transformation_mode"].s = b"half_pixel"
            attributes["nearest_mode"].s = b"round_prefer_ceil"
        for attribute in attributes.values():
            for inner in (attribute.g, *attribute.graphs):
                replace_deprecated_resize(inner)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the log message that tf2onnx prints for each step."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
