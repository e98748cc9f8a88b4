"""A loaded model, and its tasks for the images of requests."""

import functools
import io
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from mask_rcnn.config import InputConfig
from mask_rcnn.data.image_io.array_images import checked_image
from mask_rcnn.errors import short_message
from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.export.runners.outputs import Outputs
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.serving.batcher import Task
from mask_rcnn.serving.request_error import RequestError
from mask_rcnn.serving.tensorflow_rest import DEFAULT_SIGNATURE, METHOD, tensor_info
from mask_rcnn.serving.uploads import check_pixels, decode_upload
from mask_rcnn.structures import Category, Detections

IMAGE_BYTES = "image_bytes"
# Usual (height, width) of photographs. TensorFlow traces the model for other sizes at their first request.
WARMUP_SIZES = ((480, 640), (640, 480))
ROWS = "detection_"  # prefix of the outputs with one row per detection


class ServedModel:
    """A model of a weights, TFLite or ONNX file.

    TensorFlow Serving's protocol is implemented here for these formats.

    Args:
        predictor: The predictor that runs the model.
        kind: "weights", "tflite", "onnx" or "saved_model".
        export_outputs: Function of the outputs of `detect_batch` for one image and the second result of
            `preprocess`. It returns the outputs with the names of exported models, `{name: array}`, without
            padding rows.

    Attributes:
        signatures: `{name: signature}`, see `tensorflow_rest`. Set by `warm_up`.
        categories: Tuple of `Category`.
    """

    def __init__(self, predictor: ImagePredictor, kind: str, export_outputs: Callable[[Any, Any], Outputs]):
        self.predictor, self.kind, self._export_outputs = predictor, kind, export_outputs
        self.signatures: dict[str, Any] = {}

    @property
    def categories(self) -> tuple[Category, ...]:
        """Classes of the model. Class i is `categories[i - 1]`."""
        return self.predictor.categories

    def describe(self) -> dict[str, Any]:
        """Returns the kind and the classes of the model, a dict of `GET /models`."""
        config = self.predictor.config
        entry = {
            "kind": self.kind,
            "classes": [{"id": category.id, "name": category.name} for category in self.categories],
            "masks": config.mask_head is not None,
        }
        if config.keypoint_head is not None:
            entry["keypoints"] = {
                category.name: {
                    "names": list(category.keypoints),
                    "skeleton": [[first - 1, second - 1] for first, second in category.skeleton],
                }
                for category in self.categories
                if category.keypoints
            }
        return entry

    def warm_up(self) -> None:
        """Runs the model once for each of WARMUP_SIZES, and sets `signatures` from the outputs."""
        settings = self.predictor.config.input
        for size in WARMUP_SIZES:
            image = np.zeros((*size, settings.channels), settings.dtype)
            inputs, resize = self.predictor.preprocess(image)
            outputs = self._export_outputs(self.predictor.detect_batch([inputs])[0], resize)
        self.signatures = self._make_signatures(outputs, settings)

    def detection_task(
        self,
        contents: bytes,
        *,
        max_pixels: int,
        finish: Callable[[Detections, np.ndarray | None], Any],
        score: float,
        keep_image: bool = False,
    ) -> Task:
        """Returns the `Task` for an image file.

        Args:
            contents: Bytes of the file.
            max_pixels: As in `decode_upload`.
            finish: Function of the `Detections` and the image, or None, that returns the result.
            score: Detections with lower scores are left out, 0..1.
            keep_image: Whether `finish` gets the image, `[H, W, C]`. Defaults to False.
        """

        def prepare():
            image = decode_upload(contents, self.predictor.config.input, max_pixels)
            key, inputs, resize = self._prepare_image(image)
            return key, inputs, (resize, image if keep_image else None)

        def finish_image(outputs, context):
            resize, image = context
            return finish(self.predictor.postprocess(outputs, resize, score_threshold=score), image)

        return Task(prepare, self.predictor.detect_batch, finish_image)

    def signature_task(self, signature: str, value: np.ndarray | bytes, max_pixels: int) -> Task:
        """Returns the `Task` for one value of a signature. Its result is `{name: array}`.

        Args:
            signature: Name of a signature, a key of `signatures`.
            value: Pixels `[H, W, C]`, or bytes of an image file.
            max_pixels: As in `decode_upload`.
        """

        def prepare():
            settings = self.predictor.config.input
            if isinstance(value, bytes):
                return self._prepare_image(decode_upload(value, settings, max_pixels))
            try:
                return self._prepare_image(checked_image(value, settings))
            except ValueError as error:
                raise RequestError(400, str(error)) from error

        return Task(prepare, self.predictor.detect_batch, self._export_outputs)

    def _prepare_image(self, image: np.ndarray) -> tuple[Hashable, Any, Any]:
        """Returns the batch key, the inputs of the model, and the object that inverts the resize."""
        inputs, resize = self.predictor.preprocess(image)
        return self.predictor.batch_key(image.shape[:2]), inputs, resize

    def _make_signatures(self, outputs: Outputs, settings: InputConfig) -> dict[str, Any]:
        """Returns the signatures that a SavedModel of the same weights has."""
        pixels = tensor_info(
            "serving_default_input_tensor:0", settings.dtype, (-1, -1, -1, settings.channels)
        )
        inputs = {DEFAULT_SIGNATURE: {"input_tensor": pixels}}
        if settings.is_rgb8:
            files = tensor_info("image_bytes_image_bytes:0", "string", (-1,))
            inputs[IMAGE_BYTES] = {"image_bytes": files}
        infos = {}
        for number, (name, array) in enumerate(sorted(outputs.items())):
            sizes = (-1, *array.shape[1:]) if name.startswith(ROWS) else array.shape
            infos[name] = tensor_info(f"StatefulPartitionedCall:{number}", "float32", (-1, *sizes))
        return {
            name: {"inputs": tensors, "outputs": infos, "method_name": METHOD}
            for name, tensors in inputs.items()
        }


class ServedSavedModel(ServedModel):
    """A SavedModel. It runs its own signatures for image files, one file at a time.

    Args:
        predictor: `ExportedPredictor` of the folder.
        definitions: `{name: signature}` in TensorFlow Serving's form.
        functions: `{name: function}` for the signatures of strings. Each takes bytes and returns `{name:
            array}`.
    """

    def __init__(
        self,
        predictor: ExportedPredictor,
        definitions: dict[str, Any],
        functions: Mapping[str, Callable[[bytes], Outputs]],
    ):
        super().__init__(predictor, "saved_model", lambda outputs, size: outputs)
        self._definitions, self._functions = definitions, functions

    def warm_up(self) -> None:
        super().warm_up()
        if IMAGE_BYTES in self._functions:
            file = io.BytesIO()
            height, width = WARMUP_SIZES[0]
            Image.new("RGB", (width, height)).save(file, "PNG")
            self._functions[IMAGE_BYTES](file.getvalue())

    def signature_task(self, signature: str, value: np.ndarray | bytes, max_pixels: int) -> Task:
        if signature not in self._functions:
            return super().signature_task(signature, value, max_pixels)

        def prepare():
            if signature == IMAGE_BYTES and isinstance(value, bytes):
                check_pixels(value, max_pixels)
            return None, value, None

        run = functools.partial(_run_on_one, self._functions[signature])
        return Task(prepare, run, lambda outputs, context: outputs)

    def _make_signatures(self, outputs: Outputs, settings: InputConfig) -> dict[str, Any]:
        return self._definitions


def _run_on_one(function: Callable[[bytes], Outputs], values: list[bytes]) -> list[Outputs]:
    """Calls a function of bytes for a list of one value. An InvalidArgumentError becomes a `RequestError`."""
    (value,) = values
    try:
        return [function(value)]
    except Exception as error:
        if type(error).__name__ == "InvalidArgumentError":
            raise RequestError(400, short_message(error)) from error
        raise
