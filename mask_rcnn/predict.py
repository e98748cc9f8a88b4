"""An image in, its objects out: the model with everything around it."""

import copy
import dataclasses

import tensorflow as tf

from mask_rcnn.data.transforms import Resize, input_size, pad_image, padded_size, padding_origin, scaled_input
from mask_rcnn.heads import decode, heads_of
from mask_rcnn.image_predictor import ImagePredictor
from mask_rcnn.model import build_parts, dtype_policy, inference_model
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.ops.kernels import has_gpu
from mask_rcnn.structures import Detections
from mask_rcnn.weights import load_weights, read_header

# Images of a batch on each replica. A CPU computes a batch no faster than its images one by one.
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 1, 4


class Predictor(ImagePredictor):
    """Finds the objects in images of any size, on all replicas of the strategy that it is made under.

    Args:
        parts: `Parts` with their weights.
        config: the `Config` they were built from.
        categories: tuple of `Category`; class id i is `categories[i - 1]`.

    Attributes:
        parts: as given; `inference_model(parts, config, intermediates=True)` shows what lies between.
        model: the `inference_model`; `detect` is the same, compiled.

    Example:

    >>> predictor = mask_rcnn.load("runs/fruits/best.weights.h5")  # doctest: +SKIP
    >>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
    >>> picture = mask_rcnn.draw("photo.jpg", detections, predictor.categories)  # doctest: +SKIP
    """

    def __init__(self, parts, config, categories):
        if len(categories) != config.num_classes:
            raise ValueError(
                "A model needs one category for each of its classes. "
                f"Received: {len(categories)} categories, num_classes={config.num_classes}."
            )
        self.parts, self.config, self.max_pixels = parts, config, config.data.max_pixels
        self.categories = tuple(categories)
        self.model = inference_model(parts, config)
        # Nothing in it is Python that AutoGraph would have to rewrite.
        self.detect = tf.function(self.model, autograph=False, reduce_retracing=True)
        self.strategy = tf.distribute.get_strategy()
        self._detect_on_replicas = tf.function(
            lambda batch: self.strategy.run(self.model, [batch]), autograph=False, reduce_retracing=True
        )

    @classmethod
    def load(cls, path, precision="float32", kernels=None):
        """Returns the predictor of a weights file, which carries its config and categories.

        Args:
            path: file of `save_weights`; or a name of `mask-rcnn models list`, fetched when first used.
            precision: Keras dtype policy to compute in; "mixed_bfloat16" is fast where the hardware has it.
            kernels: as in `build_parts`; "portable" is for a model that is to be exported.
        """
        path = weights_file(path)
        config, categories = read_header(path)
        with dtype_policy(precision):
            parts = build_parts(config, kernels)
            load_weights(path, parts)
            return cls(parts, config, categories)

    def preprocess(self, image):
        """Resizes and pads an image for the model.

        Args:
            image: `[H, W, C]`, uint8 RGB unless `input.channels` and `input.dtype` say otherwise.

        Returns:
            The input dict of the model, a batch of one, and the `Resize` that undoes it.
        """
        settings = self.config.input
        size, padded = self._sizes(image.shape[:2])
        resize = Resize(image.shape[:2], size, padding_origin(size, padded, settings.centered))
        dtype = self.model.input["images"].dtype
        pixels = pad_image(resize.apply(image, settings.resize, dtype), padded, resize.origin)
        return {"images": tf.constant(pixels[None]), "image_sizes": tf.constant([size], tf.float32)}, resize

    def batch_key(self, image_size):
        """Returns the padded shape: padding an image more would change what the model computes."""
        return self._sizes(image_size)[1]

    def _sizes(self, image_size):
        """Returns (height, width) of the resized and of the padded image for one of `image_size`."""
        settings = self.config.input
        size = input_size(image_size, settings.short_side, settings)
        return size, padded_size(size, settings.pad_multiple, settings.padded_size)

    def scaled(self, scale):
        if scale == 1:
            return self
        other = copy.copy(self)
        other.config = dataclasses.replace(self.config, input=scaled_input(self.config.input, scale))
        return other

    def default_batch_size(self):
        return self._num_replicas() * (GPU_BATCH_SIZE if has_gpu() else CPU_BATCH_SIZE)

    def _num_replicas(self):
        """Returns the number of replicas in this process: with several processes, each detects alone."""
        if self.strategy.num_replicas_in_sync == 1:
            return 1
        return len(self.strategy.extended.worker_devices)

    def detect_batch(self, inputs):
        """Runs the model on images of equal padded shapes, divided among the replicas.

        Args:
            inputs: list of input dicts, batches of one.

        Returns:
            A list with the output dict of each image, arrays without the batch axis.
        """
        num_replicas = self._num_replicas()
        if num_replicas == 1:
            return _unbatched([self.detect(_batched(inputs))])
        share = -(-len(inputs) // num_replicas)
        filled = inputs + inputs[-1:] * (share * num_replicas - len(inputs))
        values = self.strategy.experimental_distribute_values_from_function(
            lambda context: _batched(
                filled[context.replica_id_in_sync_group % num_replicas * share :][:share]
            )
        )
        outputs = self._detect_on_replicas(values)
        results = {name: self.strategy.experimental_local_results(output) for name, output in outputs.items()}
        replicas = [dict(zip(results, each, strict=True)) for each in zip(*results.values(), strict=True)]
        return _unbatched(replicas)[: len(inputs)]

    def postprocess(self, outputs, resize, score_threshold=0.0):
        """Takes the model's output for one image back to the pixels of that image.

        Args:
            outputs: dict of `detect_batch` for the image.
            resize: the `Resize` of `preprocess`.
            score_threshold: detections with lower scores are left out.

        Returns:
            `Detections`.
        """
        found = (outputs["class_ids"] > 0) & ~(outputs["scores"] < score_threshold)  # NaN stays visible
        outputs = {name: output[found] for name, output in outputs.items()}
        boxes = resize.invert_boxes(outputs["boxes"], self.config.inclusive_boxes)
        fields = decode(heads_of(self.config), outputs, boxes, resize)
        return Detections(
            boxes=boxes,
            scores=outputs["scores"],
            class_ids=outputs["class_ids"],
            image_size=resize.original,
            **fields,
        )


def _batched(inputs):
    """Joins input dicts, batches of one, to one batch."""
    return {name: tf.concat([one[name] for one in inputs], axis=0) for name in inputs[0]}


def _unbatched(outputs):
    """Returns the output dict of each image, NumPy arrays, from the output dicts of several batches."""
    arrays = [{name: output.numpy() for name, output in batch.items()} for batch in outputs]
    return [
        {name: output[index] for name, output in batch.items()}
        for batch in arrays
        for index in range(len(batch["class_ids"]))
    ]


load = Predictor.load
