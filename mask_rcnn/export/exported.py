"""Detects objects with an exported model through the interface of `Predictor`."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.export.formats import format_of
from mask_rcnn.export.runners.outputs import Outputs, to_detections
from mask_rcnn.export.writers.assets import read_assets
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.structures import Detections

MAX_REASON = 200  # number of characters of a runtime's error message that are shown


class ExportedPredictor(ImagePredictor):
    """Detects objects in images of any size with an exported model of any format.

    A SavedModel takes batches of images of one size. The other formats take one image at a time.

    Args:
        path: SavedModel folder, .tflite or .onnx file, or web page folder of `mask-rcnn export`. Of a web
            page with several models, the first one is used.
        threads: Number of threads that the runtime may use. Defaults to None, the runtime's own choice.

    Attributes:
        config, categories: `Config` and tuple of `Category` of the model, from its assets.
        runner: Function of an image `[H, W, 3]` uint8 that returns `{name: array}`; see `outputs.py`. A
            runner that supports batches has a method `detect_batch`, which takes `[B, H, W, 3]` and returns a
            list of these dicts.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        self._path = path
        runner = load_runner(format_of(path).runner_file)
        with _as_value_error(path):
            self.runner = runner(str(path), threads)
            self.config, self.categories = read_assets(self.runner.assets, path)

    def preprocess(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Returns the image unchanged, because the exported model resizes it, and its (height, width)."""
        return image, image.shape[:2]

    def batch_key(self, image_size: tuple[int, int]) -> tuple[int, int] | None:
        return image_size if hasattr(self.runner, "detect_batch") else None

    def detect_batch(self, inputs: Sequence[np.ndarray]) -> list[Outputs]:
        with _as_value_error(self._path):
            if len(inputs) > 1:
                return self.runner.detect_batch(np.stack(inputs))
            return [self.runner(inputs[0])]

    def postprocess(
        self, outputs: Outputs, resize: tuple[int, int], score_threshold: float = 0.0
    ) -> Detections:
        mask_head = self.config.mask_head
        paste = mask_head.paste if mask_head else "pixel_centers"  # not used without masks
        with _as_value_error(self._path):
            return to_detections(outputs, resize, paste=paste, score_threshold=score_threshold)


load = ExportedPredictor


@contextlib.contextmanager
def _as_value_error(path: Path | str) -> Iterator[None]:
    """Converts any error of a runtime to a ValueError that names the model."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        is_from_set_threads = isinstance(error, RuntimeError) and "Received:" in str(error)
        if is_from_set_threads or str(path) in str(error):  # the message is already complete
            raise
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        raise ValueError(
            f"Expected a complete model of `mask-rcnn export`. Received: {str(path)!r} ({reason}). "
            "Copy it again, or export the weights again."
        ) from error


def load_runner(file: Path | str) -> Callable[[str, int | None], Any]:
    """Returns the class `Runner` of a Python file, which need not be part of a package."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"A runner must be a Python file. Received: {str(file)!r}. Check `Format.runner`.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Runner
