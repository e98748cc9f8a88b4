"""Predictor: resizes and pads images, runs the model, and converts its output to pixels of the image."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.transforms import Resize, input_size, pad_image, padded_size, padding_origin, scaled_input
from mask_rcnn.heads import decode, heads_of
from mask_rcnn.model import Parts, build_parts, dtype_policy, inference_model
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.ops.implementation import Implementation, has_gpu
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.structures import Category, Detections
from mask_rcnn.system.paths import AnyPath
from mask_rcnn.weights import load_weights, read_header

# Images per replica and batch. On a CPU, a batch is no faster than the same images one by one.
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 1, 4


class Predictor(ImagePredictor):
    """Detects objects in images of any size, on all replicas of the current distribution strategy.

    The strategy is the one in whose scope the predictor is created.

    Args:
        parts: `Parts` with their weights.
        config: The `Config` that `parts` were built from.
        categories: Sequence of `config.num_classes` `Category`. Class id i is `categories[i - 1]`.

    Attributes:
        parts: As given. `inference_model(parts, config, intermediates=True)` also returns the intermediate
            tensors.
        model: The Keras model of `inference_model`.
        detect: `model` as a `tf.function`.

    Raises:
        ValueError: If the number of categories differs from `config.num_classes`.

    Example:

    >>> predictor = mask_rcnn.load("runs/fruits/best.weights.h5")  # doctest: +SKIP
    >>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
    >>> picture = mask_rcnn.draw("photo.jpg", detections, predictor.categories)  # doctest: +SKIP
    """

    def __init__(self, parts: Parts, config: Config, categories: Sequence[Category]):
        if len(categories) != config.num_classes:
            raise ValueError(
                "A model needs one category for each of its classes. "
                f"Received: {len(categories)} categories, num_classes={config.num_classes}."
            )
        self.parts, self.config, self.max_pixels = parts, config, config.data.max_pixels
        self.categories = tuple(categories)
        self.model = inference_model(parts, config)
        # The model has no Python control flow, so AutoGraph is not needed.
        self.detect = tf.function(self.model, autograph=False, reduce_retracing=True)
        self.strategy = tf.distribute.get_strategy()
        self._detect_on_replicas = tf.function(
            lambda batch: self.strategy.run(self.model, [batch]), autograph=False, reduce_retracing=True
        )

    @classmethod
    def load(
        cls, path: AnyPath, precision: str = "float32", implementation: Implementation | None = None
    ) -> Predictor:
        """Returns the predictor of a weights file. Config and categories are read from the file.

        Args:
            path: Path of a file of `save_weights`; or a name of `mask-rcnn models list`, which is downloaded
                on first use.
            precision: Keras dtype policy of the computation. "mixed_bfloat16" is fast on hardware that
                supports bfloat16. Defaults to "float32".
            implementation: Implementation of the convolutions, see `build_parts`. Use "portable" for a model
                that will be exported. Defaults to None.

        Returns:
            `Predictor`.

        Raises:
            FileNotFoundError: If `path` is neither a file nor a name of published weights.
            OSError: If published weights cannot be downloaded.
            ValueError: If the file is damaged, or its weights do not fit its config.
        """
        path = weights_file(path)
        config, categories = read_header(path)
        with dtype_policy(precision):
            parts = build_parts(config, implementation)
            load_weights(path, parts)
            return cls(parts, config, categories)

    def preprocess(self, image: np.ndarray) -> tuple[dict[str, tf.Tensor], Resize]:
        """Resizes and pads an image for the model.

        Args:
            image: `[H, W, C]`. The config fields `input.channels` and `input.dtype` set C and the dtype.
                Their defaults are 3 (RGB) and uint8.

        Returns:
            Tuple of the model's inputs and the `Resize` that maps detections back to the image. The inputs
            are a dict, a batch of one image:
            images: `[1, PH, PW, C]`, resized and padded.
            image_sizes: `[1, 2]` float32, (height, width) before padding, pixels.
        """
        settings = self.config.input
        size, padded = self._sizes(image.shape[:2])
        y, x = padding_origin(size, padded, settings.centered)
        resize = Resize(image.shape[:2], size, (y, x))
        dtype = self.model.input["images"].dtype  # pyright: ignore[reportCallIssue, reportArgumentType]
        pixels = pad_image(resize.apply(image, settings.resize, dtype), padded, resize.origin)
        return {"images": tf.constant(pixels[None]), "image_sizes": tf.constant([size], tf.float32)}, resize

    def batch_key(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Returns the padded (height, width). More padding would change the result of the model."""
        return self._sizes(image_size)[1]

    def _sizes(self, image_size):
        """Returns the (height, width) of the resized image and of the padded image."""
        settings = self.config.input
        size = input_size(image_size, settings.short_side, settings)
        height, width = padded_size(size, settings.pad_multiple, settings.padded_size)
        return size, (height, width)

    def scaled(self, scale: float) -> Predictor:
        """Returns a predictor of the same model that resizes images to `scale` times the config's sides."""
        if scale == 1:
            return self
        scaled = copy.copy(self)
        scaled.config = dataclasses.replace(self.config, input=scaled_input(self.config.input, scale))
        return scaled

    def default_batch_size(self) -> int:
        """Returns the number of images per batch that is fast on this machine, on all replicas together."""
        return self._num_replicas() * (GPU_BATCH_SIZE if has_gpu() else CPU_BATCH_SIZE)

    def _num_replicas(self):
        """Returns the number of replicas in this process. Each of several processes detects on its own."""
        if self.strategy.num_replicas_in_sync == 1:
            return 1
        return len(self.strategy.extended.worker_devices)

    def detect_batch(self, inputs: list[dict[str, tf.Tensor]]) -> list[dict[str, np.ndarray]]:
        """Runs the model on images with equal padded shapes, divided among the replicas.

        Args:
            inputs: List of input dicts of `preprocess`, each a batch of one image.

        Returns:
            List with the output dict of each image, NumPy arrays without the batch axis.
        """
        num_replicas = self._num_replicas()
        if num_replicas == 1:
            return _unbatched([self.detect(_batched(inputs))])
        replica_size = -(-len(inputs) // num_replicas)
        padded = inputs + inputs[-1:] * (replica_size * num_replicas - len(inputs))
        values = self.strategy.experimental_distribute_values_from_function(
            lambda context: _batched(
                padded[context.replica_id_in_sync_group % num_replicas * replica_size :][:replica_size]
            )
        )
        outputs = self._detect_on_replicas(values)
        results = {name: self.strategy.experimental_local_results(output) for name, output in outputs.items()}
        replicas = [dict(zip(results, each, strict=True)) for each in zip(*results.values(), strict=True)]
        return _unbatched(replicas)[: len(inputs)]

    def postprocess(
        self, outputs: dict[str, np.ndarray], resize: Resize, score_threshold: float = 0.0
    ) -> Detections:
        """Converts the model's output for one image to detections in the pixels of that image.

        Args:
            outputs: Output dict of `detect_batch` for the image.
            resize: The `Resize` of `preprocess` for the image.
            score_threshold: Detections with lower scores are removed. Defaults to 0.

        Returns:
            `Detections`, without padding rows.
        """
        # A score of NaN is kept, so that the error is visible.
        is_kept = (outputs["class_ids"] > 0) & ~(outputs["scores"] < score_threshold)
        outputs = {name: output[is_kept] for name, output in outputs.items()}
        boxes = resize.invert_boxes(outputs["boxes"], self.config.inclusive_boxes)
        fields: dict[str, Any] = decode(heads_of(self.config), outputs, boxes, resize=resize)
        return Detections(
            boxes=boxes,
            scores=outputs["scores"],
            class_ids=outputs["class_ids"],
            image_size=resize.original,
            **fields,
        )


def _batched(inputs):
    """Concatenates input dicts of one image each to one batch."""
    return {name: tf.concat([image_inputs[name] for image_inputs in inputs], axis=0) for name in inputs[0]}


def _unbatched(outputs):
    """Splits the output dicts of batches into a list with one dict of NumPy arrays per image."""
    arrays = [{name: output.numpy() for name, output in batch.items()} for batch in outputs]
    return [
        {name: output[index] for name, output in batch.items()}
        for batch in arrays
        for index in range(len(batch["class_ids"]))
    ]


load = Predictor.load
