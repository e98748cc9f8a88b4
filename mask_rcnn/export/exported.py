"""Detects objects with an exported model through the interface of `Predictor`."""

import contextlib
import importlib.util
from pathlib import Path

import numpy as np

from mask_rcnn.export.formats import format_of
from mask_rcnn.export.runners.outputs import to_detections
from mask_rcnn.export.writers.assets import read_assets
from mask_rcnn.prediction.image_predictor import ImagePredictor

MAX_REASON = 200  # characters of a runtime's error message that are shown


class ExportedPredictor(ImagePredictor):
    """Detects objects in images of any size with an exported model of any format.

    A SavedModel takes batches of images of one size. The other formats take one image at a time.

    Args:
        path: SavedModel folder, .tflite or .onnx file, or web page folder of `mask-rcnn export`.
        threads: Int, number of threads that the runtime may use. Defaults to None, the runtime's own choice.

    Attributes:
        config, categories: `Config` and tuple of `Category` of the model, from its assets.
        runner: Function of an image `[H, W, 3]` uint8 that returns `{name: array}`; see `outputs.py`. A
            runner that supports batches has a method `detect_batch`, which takes `[B, H, W, 3]` and returns a
            list of these dicts.
    """

    def __init__(self, path, threads=None):
        self._path = path
        runner = load_runner(format_of(path).runner_file)
        with _one_error(path):
            self.runner = runner(str(path), threads)
            self.config, self.categories = read_assets(self.runner.assets, path)

    def preprocess(self, image):
        """Returns the image unchanged, because the exported model resizes it, and its (height, width)."""
        return image, image.shape[:2]

    def batch_key(self, image_size):
        return image_size if hasattr(self.runner, "detect_batch") else None

    def detect_batch(self, inputs):
        with _one_error(self._path):
            if len(inputs) > 1:
                return self.runner.detect_batch(np.stack(inputs))
            return [self.runner(inputs[0])]

    def postprocess(self, outputs, resize, score_threshold=0.0):
        mask_head = self.config.mask_head
        with _one_error(self._path):
            return to_detections(outputs, resize, mask_head and mask_head.paste, score_threshold)


load = ExportedPredictor


@contextlib.contextmanager
def _one_error(path):
    """Converts any error of a runtime to one ValueError that names the model."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        is_ours = isinstance(error, RuntimeError) and "Received:" in str(error)  # from `set_threads`
        if is_ours or str(path) in str(error):  # the message is already complete
            raise
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        raise ValueError(
            f"Expected a complete model of `mask-rcnn export`. Received: {str(path)!r} ({reason}). "
            "Copy it again, or export the weights again."
        ) from error


def load_runner(file):
    """Returns the class `Runner` of a Python file, which need not be part of a package."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Runner
