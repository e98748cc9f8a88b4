"""From a weights file to a checked file of another runtime."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mask_rcnn.export.compare import Tolerance
from mask_rcnn.export.formats import FORMATS
from mask_rcnn.export.keep import export_checked
from mask_rcnn.export.verify import verify

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen of an export; None is the format's own choice.

    Args:
        precision: of the convolutions and dense layers, one of PRECISIONS (SavedModel).
        size: (height, width) of the model's input (TFLite, ONNX).
        quantize: which numbers become smaller, one of `lite_quantize.METHODS` (TFLite).
        calibration: paths of pictures like those that the model is for ("int8" of TFLite).
        proposals, detections: boxes that the second stage looks at and that come out, instead of the
            config's: fewer are faster (TFLite, ONNX).
    """

    precision: str | None = None
    size: tuple[int, int] | None = None
    quantize: str | None = None
    calibration: tuple[Path, ...] | None = None
    proposals: int | None = None
    detections: int | None = None

    def check_only(self, format, *names):
        """Raises a ValueError where something is chosen that `format` has not: it knows `names`."""
        for name, value in vars(self).items():
            if value is not None and name not in names:
                raise ValueError(
                    f"The format {format} takes {' and '.join(f'--{each}' for each in names)}. "
                    f"Received: --{name} {value}. Leave it out, or choose another format."
                )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a format writes a model, and what the result is held against; `plan` of a writer makes it.

    Args:
        write: function of a path that writes the model there.
        reference: `keras_runner.Runner` of the Keras model.
        tolerance: how far the result may be from it.
        least_bytes: that the weights need in the file.
    """

    write: Callable
    reference: Callable
    tolerance: Tolerance
    least_bytes: int


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
    suffix = FORMATS[format].suffix
    if not str(path).endswith(suffix):
        raise ValueError(
            f"A file of the format {format} ends in {suffix!r}. Received: {str(path)!r}. Add the suffix."
        )
    writer = importlib.import_module(f"mask_rcnn.export.{FORMATS[format].writer}")
    plan = writer.plan(weights, options or Options())
    check = functools.partial(
        verify,
        reference=plan.reference,
        images=images,
        tolerance=plan.tolerance,
        least_bytes=plan.least_bytes,
    )
    return export_checked(path, plan.write, check)
