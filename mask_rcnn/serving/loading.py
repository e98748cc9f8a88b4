"""Loads models for the server."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.export.formats import KERAS, format_of
from mask_rcnn.export.runners.outputs import Outputs, without_padding
from mask_rcnn.serving.served_model import ServedModel, ServedSavedModel
from mask_rcnn.serving.tensorflow_rest import STRING


def load_model(path: Path, precision: str = "float32") -> ServedModel:
    """Loads a model and runs it once, so that the first request is not slow. Returns its `ServedModel`.

    Args:
        path: Weights file, SavedModel folder, .tflite or .onnx file.
        precision: Dtype policy for a weights file, as in `Predictor.load`. Exported models have their own.
            Defaults to "float32".
    """
    format = format_of(path)
    if format == KERAS:
        model = _load_weights(path, precision)
    elif format.name == "saved_model":
        model = _load_saved_model(path)
    else:
        model = _load_lite(path, format.name)
    model.warm_up()
    return model


def _load_weights(path: Path, precision: str) -> ServedModel:
    from mask_rcnn.export.runners.keras_runner import to_export_outputs
    from mask_rcnn.prediction.predict import Predictor

    predictor = Predictor.load(path, precision)

    def export_outputs(outputs, resize):
        converted = to_export_outputs(outputs, resize, predictor.config)
        return _with_image_info(converted, resize.original, resize.resized, resize.origin)

    return ServedModel(predictor, "weights", export_outputs)


def _load_lite(path: Path, kind: str) -> ServedModel:
    from mask_rcnn.export.runners.lite_runner import place_in_frame

    predictor = ExportedPredictor(path)

    def export_outputs(outputs, size):
        return _with_image_info(outputs, size, *place_in_frame(size, predictor.runner.metadata))

    return ServedModel(predictor, kind, export_outputs)


def _with_image_info(
    outputs: Outputs, original: Sequence[int], resized: Sequence[int], origin: Sequence[int]
) -> Outputs:
    """Returns the outputs for an image without padding rows, and with `image_info`."""
    scale = [new / old for new, old in zip(resized, original, strict=True)]
    return {
        **without_padding(outputs),
        "num_detections": outputs["num_detections"],
        "image_info": np.array([original, resized, scale, origin], "float32"),
    }


def _load_saved_model(path: Path) -> ServedSavedModel:
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    predictor = ExportedPredictor(path)
    graph = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
    signatures = predictor.runner.signatures
    definitions = {
        name: MessageToDict(
            graph.signature_def[name],
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name in signatures
    }
    functions = {}
    for name, definition in definitions.items():
        ((input_name, info),) = definition["inputs"].items()
        if info["dtype"] == STRING:
            functions[name] = _bytes_function(signatures[name], input_name)
    return ServedSavedModel(predictor, definitions, functions)


def _bytes_function(signature: Callable[..., Any], input_name: str) -> Callable[[bytes], Outputs]:
    """Converts a signature for a batch of strings to a function of bytes that returns `{name: array}`."""
    import tensorflow as tf

    def run(contents):
        outputs = signature(**{input_name: tf.constant([contents])})
        return {name: output.numpy()[0] for name, output in outputs.items()}

    return run
