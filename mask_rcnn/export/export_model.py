"""Exports a weights file to a checked file of another runtime."""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.export.checked_export import export_checked
from mask_rcnn.export.checks.compare import Tolerance
from mask_rcnn.export.checks.training_scale import TrainingScale
from mask_rcnn.export.checks.verify import verify
from mask_rcnn.export.formats import FORMATS, check_options
from mask_rcnn.export.runners.outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an export. None selects the default of the format.

    Args:
        precision: Dtype of the convolutions and dense layers, one of `formats.PRECISIONS` (SavedModel).
        max_pixels: Largest height times width of an image file that is decoded (SavedModel).
        size: (height, width) of the model's input, pixels (TFLite, ONNX, web).
        quantize: Quantization, one of `formats.QUANTIZE_METHODS` (TFLite, web).
        calibration: Paths of the calibration images for "int8" (TFLite, web).
        proposals: Number of proposals that the second stage classifies, instead of the config's. Fewer are
            faster (TFLite, ONNX, web).
        detections: Largest number of detections, instead of the config's. Fewer are faster (TFLite, ONNX,
            web).
        litert: Folder of npm packages with LiteRT.js, see `litert_js.read_litert` (web).
    """

    precision: str | None = None
    max_pixels: int | None = None
    size: tuple[int, int] | None = None
    quantize: str | None = None
    calibration: tuple[Path, ...] | None = None
    proposals: int | None = None
    detections: int | None = None
    litert: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """How to write and check one export. Each writer module has a function `export_job` that returns it.

    Args:
        write: Function of a path that writes the model there.
        reference: `keras_runner.Runner` of the Keras model, which the export is compared with.
        tolerance: `Tolerance`, the largest allowed differences from `reference`.
        least_bytes: Number of bytes that the weights need in the file.
        training_scale: `TrainingScale` for a format with a fixed frame. Defaults to None.
    """

    write: Callable[[Path], None]
    reference: Callable[[np.ndarray], Outputs]
    tolerance: Tolerance
    least_bytes: int
    training_scale: TrainingScale | None = None


def export_model(
    weights: Path | str,
    path: Path | str,
    *,
    format: str,
    images: Mapping[str, np.ndarray],
    options: Options | None = None,
) -> dict[str, Any]:
    """Exports a model and runs it in a separate process. Keeps it if it agrees with the Keras model.

    Args:
        weights: Path of a weights file, or a name that `mask-rcnn models list` prints.
        path: File or folder to write. An earlier export is replaced.
        format: Name of a format, a key of FORMATS.
        images: `{name: [H, W, 3] uint8}` for the comparison. The model should detect objects in them.
        options: Options of the export. Defaults to None, the defaults of the format.

    Returns:
        Dict, the report of `verify`.

    Raises:
        ValueError: The options do not fit the format, or the export does not agree with the Keras model. Then
            the export is not written, and an earlier one stays.
    """
    options = options or Options()
    check_options(format, path, vars(options))
    writer = importlib.import_module(f"mask_rcnn.export.writers.{FORMATS[format].writer}")
    job = writer.export_job(weights, options)
    check = functools.partial(
        verify,
        reference=job.reference,
        images=images,
        tolerance=job.tolerance,
        least_bytes=job.least_bytes,
        training_scale=job.training_scale,
        calibration=[str(path) for path in options.calibration or ()],
    )
    return export_checked(path, job.write, check)
