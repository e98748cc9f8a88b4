"""Writes TFLite files, for phones and small computers: the complete model, image to objects with masks."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mask_rcnn.config import Config, InputConfig
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.transforms import Resize
from mask_rcnn.export.checks.compare import EXACT, HALF
from mask_rcnn.export.checks.training_scale import TrainingScale
from mask_rcnn.export.export_model import ExportJob, Options
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.runners.lite_runner import letterbox
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.export.writers.lite_file import check_operators, pack
from mask_rcnn.export.writers.lite_graph import LiteGraph, check_size
from mask_rcnn.export.writers.lite_metadata import add_metadata, labels_by_value
from mask_rcnn.export.writers.lite_quantize import quantize
from mask_rcnn.model import Parts, build_parts
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.weights import load_weights, read_header

# TFLite's float32 kernels add numbers in another order than TensorFlow's.
FLOAT32 = replace(EXACT, boxes=5e-3, scores=1e-4, masks=1e-3, attributes=1e-3)
# int8 has 256 levels. Uncertain detections change a lot, but those of high score are still found. Wrong
# quantization ranges lose far more than this tolerance allows.
INT8 = replace(HALF, boxes=16.0, scores=0.2, outlines=0.3, keypoints=16.0, attributes=0.2, mismatches=0.25)
TOLERANCE = {"none": FLOAT32, "float16": HALF, "dynamic": INT8, "int8": INT8}


class FramedPredictor(Predictor):
    """The Keras model with the fixed input frame of an exported model.

    Args:
        parts, config, categories: As in `Predictor`.
        metadata: Dict of `runner_metadata`.
    """

    def __init__(
        self, parts: Parts, config: Config, categories: Sequence[Category], *, metadata: Mapping[str, Any]
    ):
        super().__init__(parts, config, categories)
        self.metadata = metadata

    def preprocess(self, image: np.ndarray) -> tuple[dict[str, tf.Tensor], Resize]:
        frame, resized, origin = letterbox(image, self.metadata)
        dtype = self.model.input["images"].dtype  # pyright: ignore[reportCallIssue, reportArgumentType]  # a dict
        batch = {
            "images": tf.cast(frame[None], dtype),
            "image_sizes": tf.constant([resized], tf.float32),
        }
        return batch, Resize(image.shape[:2], (resized[0], resized[1]), (origin[0], origin[1]))


def export_job(weights: Path | str, options: Options) -> ExportJob:
    """Returns the `ExportJob` of a TFLite file; see `export_model.py`."""
    method = options.quantize or "none"
    predictor = framed_predictor(weights, options)
    calibration = options.calibration or ()
    write = functools.partial(write_file, predictor=predictor, method=method, calibration=calibration)
    bytes_per_weight = {"none": 4, "float16": 2, "dynamic": 1, "int8": 1}[method]
    return ExportJob(
        write=write,
        reference=Runner(predictor),
        tolerance=TOLERANCE[method],
        least_bytes=bytes_per_weight * count_kernel_weights(predictor),
        training_scale=training_scale(weights, predictor),
    )


def count_kernel_weights(predictor: Predictor) -> int:
    """Returns the number of weights in convolution and dense kernels.

    A file must contain at least these. Converters fold the other weights into the kernels.
    """
    return sum(np.size(variable) for variable in predictor.model.variables if len(variable.shape) > 1)


def framed_predictor(weights: Path | str, options: Options) -> FramedPredictor:
    """Returns the `FramedPredictor` of a weights file.

    Args:
        weights: Path of a weights file, or a model name.
        options: Options of the export. Uses `size`, `proposals` and `detections`.
    """
    weights = weights_file(weights)
    config, categories = read_header(weights)
    size = options.size or default_size(config.input)
    check_size(size, config.input.pad_multiple)
    parts = build_parts(config, implementation="portable")
    load_weights(weights, parts)
    rpn, head = config.rpn, config.box_head
    # No weight depends on the number of proposals or detections.
    config = replace(
        config,
        rpn=replace(rpn, post_nms=options.proposals or rpn.post_nms),
        box_head=replace(head, max_detections=options.detections or head.max_detections),
    )
    return FramedPredictor(parts, config, categories, metadata=runner_metadata(config, size))


def training_scale(weights: Path | str, predictor: FramedPredictor) -> TrainingScale:
    """Returns the `TrainingScale` of a weights file: its model with the sizes and limits of its own config.

    Args:
        weights: Path of the weights file, or a model name.
        predictor: Its `FramedPredictor`. The networks are shared.
    """
    config, categories = read_header(weights_file(weights))
    runner = Runner(Predictor(predictor.parts, config, categories))
    return TrainingScale(runner=runner, settings=config.input, frame=tuple(predictor.metadata["size"]))


def default_size(settings: InputConfig) -> tuple[int, int]:
    """Returns the default frame (height, width), pixels: a landscape image of the `InputConfig`'s size."""
    multiple = settings.pad_multiple
    height, width = (-(-side // multiple) * multiple for side in (settings.short_side, settings.long_side))
    return settings.padded_size or (height, width)


def runner_metadata(config: Config, size: Sequence[int]) -> dict[str, Any]:
    """Returns the metadata that a runner needs, a dict that JSON can represent; see `lite_runner.letterbox`.

    Args:
        config: `Config` of the model.
        size: (height, width) of the frame, pixels.
    """
    keypoint_head = config.keypoint_head
    return {
        "size": list(size),
        "channels": config.input.channels,
        "dtype": config.input.dtype,
        "resize": config.input.resize,
        "size_rounding": config.input.size_rounding,
        "centered": config.input.centered,
        "inclusive_boxes": config.inclusive_boxes,
        "half_pixel": keypoint_head.half_pixel if keypoint_head else True,
        "keypoints": list(keypoint_head.names) if keypoint_head else [],
    }


def write_file(
    path: Path | str, predictor: FramedPredictor, *, method: str = "none", calibration: Sequence[Path] = ()
) -> None:
    """Writes a TFLite file.

    Args:
        path: Path of the file.
        predictor: `FramedPredictor`, its parts built with `implementation="portable"`.
        method: Quantization, one of `formats.QUANTIZE_METHODS`. Defaults to "none".
        calibration: Paths of the calibration images for "int8". Defaults to none.
    """
    graph = LiteGraph(predictor.parts, predictor.config, predictor.metadata["size"])
    content = convert_to_tflite(graph, float16_weights=method == "float16")
    if method in ("dynamic", "int8"):
        settings = predictor.config.input
        images = (read_image(file, settings.bit_depth, **settings.pixel_format) for file in calibration)
        inputs = [graph_inputs(image, predictor) for image in images]
        content = quantize(content, method, inputs)
    check_operators(content)
    assets = write_assets(predictor.config, predictor.categories) | labels_by_value(predictor.categories)
    content = add_metadata(content, predictor.metadata)
    Path(path).write_bytes(pack(content, assets, {**predictor.metadata, "quantize": method}))


def graph_inputs(image: np.ndarray, predictor: FramedPredictor) -> dict[str, np.ndarray]:
    """Returns the inputs of a `LiteGraph` for an image `[H, W, C]`, a dict of NumPy arrays."""
    frame, resized, _ = letterbox(image, predictor.metadata)
    return {"image": frame[None], "image_size": np.array([resized], "int32")}


def convert_to_tflite(graph: LiteGraph, float16_weights: bool = False) -> bytes:
    """Returns the bytes of a TFLite file with one signature, `serving_default`.

    Args:
        graph: `LiteGraph`.
        float16_weights: Whether to store the weights as float16. Defaults to False.
    """
    # Converts from a SavedModel: no other input of the converter keeps the signature.
    module: Any = tf.Module()
    module.weights = [variable.value for variable in graph.model.variables]
    function = graph.function.get_concrete_function()
    with tempfile.TemporaryDirectory(prefix="mask_rcnn_lite_") as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if float16_weights:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
