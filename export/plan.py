"""From a weights file to a checked file of another runtime."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mask_rcnn.export.compare import Tolerance
from mask_rcnn.export.formats import FORMATS, check_options
from mask_rcnn.export.keep import export_checked
from mask_rcnn.export.own_scale import OwnScale
from mask_rcnn.export.verify import verify


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen of an export; None is the format's own choice.

    Args:
        precision: of the convolutions and dense layers, one of `formats.PRECISIONS` (SavedModel).
        max_pixels: largest height times width of an image file that is decoded (SavedModel).
        size: (height, width) of the model's input (TFLite, ONNX, web).
        quantize: which numbers become smaller, one of `formats.METHODS` (TFLite, web).
        calibration: paths of pictures like those that the model is for ("int8" of TFLite, web).
        proposals, detections: boxes that the second stage looks at and that come out, instead of the
            config's: fewer are faster (TFLite, ONNX, web).
        litert: folder of npm packages with LiteRT.js (web); see `litert_js.read_litert`.
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
class Plan:
    """How a format writes a model, and what the result is held against; `plan` of a writer makes it.

    Args:
        write: function of a path that writes the model there.
        reference: `keras_runner.Runner` of the Keras model.
        tolerance: how far the result may be from it.
        least_bytes: that the weights need in the file.
        own_scale: `OwnScale` of a format with a fixed frame. Defaults to None.
    """

    write: Callable
    reference: Callable
    tolerance: Tolerance
    least_bytes: int
    own_scale: OwnScale | None = None


def export_model(weights, path, format, images, options=None):
    """Exports a model, runs it alone, and keeps it when it says what the Keras model says.

    Args:
        weights: file of `save_weights`, or a name of `mask-rcnn models list`.
        path: file or folder to write; an older export is replaced.
        format: name of one of FORMATS.
        images: `{name: [H, W, 3] uint8}` to compare on; the model should find something there.
        options: `Options`.

    Returns:
        The report of `verify`.

    Raises:
        ValueError: the options do not fit the format, or the export says something else; then nothing is
            written, and an older export stays.
    """
    options = options or Options()
    check_options(format, path, vars(options))
    writer = importlib.import_module(f"mask_rcnn.export.{FORMATS[format].writer}")
    plan = writer.plan(weights, options)
    check = functools.partial(
        verify,
        reference=plan.reference,
        images=images,
        tolerance=plan.tolerance,
        least_bytes=plan.least_bytes,
        own_scale=plan.own_scale,
        calibration=[str(path) for path in options.calibration or ()],
    )
    return export_checked(path, plan.write, check)
