"""An ONNX file: the graph of the TFLite file, for onnxruntime and all that reads ONNX.

TensorFlow's graph cannot pass as it is: tf2onnx knows neither `CombinedNonMaxSuppression` nor the ragged
RoIs of a level (`DynamicPartition`). `builtin_ops`, made for TFLite, has neither.
"""

import contextlib
import functools
import logging
from pathlib import Path

from mask_rcnn.export.assets import write_assets
from mask_rcnn.export.keras_runner import Runner
from mask_rcnn.export.lite import FLOAT32, framed_predictor, kernel_size
from mask_rcnn.export.lite_file import metadata_file
from mask_rcnn.export.lite_graph import LiteGraph
from mask_rcnn.export.plan import Plan

OPSET = 18


def plan(weights, options):
    """Returns the `Plan` of an ONNX file; see `plan.py`."""
    options.check_only("onnx", "size", "proposals", "detections")
    converter = import_converter()
    predictor = framed_predictor(weights, options)
    return Plan(
        write=functools.partial(write, predictor=predictor, converter=converter),
        reference=Runner(predictor),
        tolerance=FLOAT32,
        least_bytes=4 * kernel_size(predictor),
    )


def import_converter():
    try:
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            "ONNX files are written by tf2onnx. Received: it cannot be imported. "
            "Run `pip install mask-rcnn[export]`."
        ) from error
    return tf2onnx


def write(path, predictor, converter):
    """Writes an ONNX file with the inputs and outputs of `LiteGraph`, its texts in the metadata.

    Args:
        path: of the file.
        predictor: `lite.FramedPredictor`, its parts built with `kernels="portable"`.
        converter: the module tf2onnx.
    """
    graph = LiteGraph(predictor.parts, predictor.config, predictor.metadata["size"])
    with _quiet():
        model, _ = converter.convert.from_function(
            graph.function, graph.function.input_signature, opset=OPSET
        )
    assets = write_assets(predictor.config, predictor.categories)
    for name, text in (assets | metadata_file(predictor.metadata)).items():
        model.metadata_props.add(key=name, value=text)
    Path(path).write_bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet():
    """tf2onnx logs each step."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
