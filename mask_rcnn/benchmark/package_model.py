"""Measures the models of this package: whole inference, its stages, and a training step."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.benchmark.synthetic_batch import Settings, SyntheticBatch, ellipse
from mask_rcnn.benchmark.timing import Seconds, timed
from mask_rcnn.config import Config
from mask_rcnn.data.transforms import Resize
from mask_rcnn.model import Parts, inference_model, training_model
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category, Detections
from mask_rcnn.training.optimizer import build_optimizer
from mask_rcnn.training.trainer import Trainer

T = TypeVar("T")

NUM_CLASSES = 80  # for a config that takes the number of classes from its data
NUM_BOXES_ABOVE_THRESHOLD = (
    2000  # boxes above the score threshold, so that NMS keeps `max_detections` of them
)
LEARNING_RATE = 1e-4  # so low that random weights stay finite; it does not change the time

MAPS = ("C2", "C3", "C4", "C5")
PYRAMID = ("P2", "P3", "P4", "P5", "P6")  # RoIs are pooled from all maps but the last
PROPOSALS = ("proposals", "proposal_scores", "proposals_valid")


def benchmark_config(config: Config, settings: Settings) -> Config:
    """Returns `config` changed for images of the size in `settings`."""
    short_side, long_side = sorted(settings.size)
    sides = {"short_side": short_side, "train_short_sides": (short_side,), "long_side": long_side}
    sides["padded_size"] = None  # so that images are not padded to a larger size
    return dataclasses.replace(
        config,
        num_classes=config.num_classes or NUM_CLASSES,
        input=dataclasses.replace(config.input, **sides),
        train=dataclasses.replace(
            config.train,
            batch_size=settings.batch_size,
            reference_batch_size=settings.batch_size,
            learning_rate=LEARNING_RATE,
            warmup_steps=0,
            precision=settings.precision,
        ),
    )


def many_detections_threshold(
    parts: Parts, config: Config, images: Sequence[np.ndarray] | np.ndarray
) -> float:
    """Returns the score that NUM_BOXES_ABOVE_THRESHOLD boxes of all classes exceed per image, on average.

    With random weights, either all boxes or none would exceed a fixed threshold. The result is halfway to the
    next lower score, so that rounding does not change which boxes pass.
    """
    predictor = make_predictor(parts, config)
    model = inference_model(parts, config, intermediates=True)
    batch, _ = _preprocess(predictor, images)
    scores = tf.nn.softmax(tf.cast(tf.function(model)(batch)["class_logits"], tf.float32))[:, 1:]
    count = min(NUM_BOXES_ABOVE_THRESHOLD * len(images) + 1, tf.size(scores))
    highest = tf.math.top_k(tf.reshape(scores, [-1]), count)[0]
    return float(tf.reduce_mean(highest[-2:]))


def make_predictor(parts: Parts, config: Config) -> Predictor:
    """Returns a `Predictor` whose class names are numbers."""
    categories = tuple(Category(number, str(number)) for number in range(1, config.num_classes + 1))
    return Predictor(parts, config, categories)


def inference(predictor: Predictor, images: np.ndarray) -> Callable[[], tuple[Seconds, list[Detections]]]:
    """Returns a function that measures inference, including pasted masks.

    Args:
        predictor: `Predictor`.
        images: `[B, H, W, 3]` uint8.

    Returns:
        Function without arguments that returns `Seconds` and a list of `Detections`.
    """

    def detect() -> list[Detections]:
        batch, resizes = _preprocess(predictor, images)
        return _postprocess(predictor, predictor.detect(batch), resizes)

    return functools.partial(_timed, detect)


def inference_stages(
    predictor: Predictor, parts: Parts, images: np.ndarray
) -> dict[str, Callable[[], tuple[Seconds, Any]]]:
    """Returns `{name: function}` that measure each stage with the results of the stages before as inputs."""
    batch, resizes = _preprocess(predictor, images)
    model = inference_model(parts, predictor.config, intermediates=True)
    inputs, outputs = model.input, model.output
    tensors: dict[str, Any] = {**inputs, **outputs}  # pyright: ignore[reportGeneralTypeIssues] (dicts)
    values = {**batch, **tf.function(model)(batch)}

    def stage(inputs: Iterable[str], outputs: Iterable[str]) -> Callable[[], Any]:
        part = keras.Model([tensors[name] for name in inputs], [tensors[name] for name in outputs])
        return functools.partial(tf.function(part), [values[name] for name in inputs])

    stages: dict[str, Callable[[], Any]] = {"preprocess": lambda: _preprocess(predictor, images)}
    stages |= {name: stage(*ends) for name, ends in stages_of(tensors).items()}
    stages["paste"] = lambda: _postprocess(predictor, values, resizes)
    return {name: functools.partial(_timed, run) for name, run in stages.items()}


def stages_of(tensors: Mapping[str, Any]) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """Returns the inputs and outputs of each stage, `{name: (inputs, outputs)}`.

    Args:
        tensors: Names of the inputs and outputs of `inference_model(intermediates=True)`.
    """
    maps, pyramid = ([name for name in names if name in tensors] for names in (MAPS, PYRAMID))
    features = pyramid or maps[-1:]  # without an FPN, the map of the last stage
    pooled = [name for name in features if name != PYRAMID[-1]]
    # An RPN may have a separate backbone and FPN.
    rpn_maps, rpn_pyramid, rpn_features = (
        [f"rpn_{name}" for name in names if f"rpn_{name}" in tensors] for names in (maps, pyramid, features)
    )
    images = ("images", "image_sizes")
    stages = {
        "backbone": (images, maps + rpn_maps),
        "FPN": (maps + rpn_maps, pyramid + rpn_pyramid),
        "RPN, proposals": ((*images, *(rpn_features or features)), PROPOSALS),
        "box head": (("image_sizes", *pooled, *PROPOSALS), ("boxes", "scores", "class_ids")),
        "mask head": ((*pooled, "boxes", "class_ids"), ("masks",)),
    }
    return {name: ends for name, ends in stages.items() if ends[1] and set(ends[1]) <= set(tensors)}


def training_step(
    parts: Parts, config: Config, synthetic_batch: SyntheticBatch
) -> Callable[[], tuple[Seconds, dict[str, float]]]:
    """Returns a function that measures a step (forward, backward, update) and returns the losses by name."""
    model = training_model(parts, config)
    trainer = Trainer(model, loss_normalization=config.train.loss_normalization)
    trainer.compile(optimizer=build_optimizer(config.train), jit_compile=False)  # pyright: ignore[reportArgumentType]
    batch = _training_batch(config, synthetic_batch)

    def step() -> dict[str, float]:
        trainer.reset_metrics()  # so that the logs are the losses of this step alone
        logs = trainer.train_on_batch(batch, return_dict=True)
        return {name: float(logs[name]) for name in model.output}

    return functools.partial(_timed, step)


def _timed(run: Callable[[], T]) -> tuple[Seconds, T]:
    def finished() -> T:
        result = run()
        tf.test.experimental.sync_devices()  # waits for the GPU
        return result

    return timed(finished)


def _preprocess(
    predictor: Predictor, images: Sequence[np.ndarray] | np.ndarray
) -> tuple[dict[str, tf.Tensor], tuple[Resize, ...]]:
    batches, resizes = zip(*(predictor.preprocess(image) for image in images), strict=True)
    return {name: tf.concat([batch[name] for batch in batches], axis=0) for name in batches[0]}, resizes


def _postprocess(
    predictor: Predictor, outputs: Mapping[str, tf.Tensor], resizes: Sequence[Resize]
) -> list[Detections]:
    names = [name for name in ("boxes", "scores", "class_ids", "masks") if name in outputs]
    arrays = {name: outputs[name].numpy() for name in names}
    return [
        predictor.postprocess({name: array[index] for name, array in arrays.items()}, resize)
        for index, resize in enumerate(resizes)
    ]


def _training_batch(config: Config, synthetic_batch: SyntheticBatch) -> dict[str, tf.Tensor]:
    """Returns a training batch with at most `input.max_instances` of the synthetic objects."""
    images, class_ids = synthetic_batch.images, synthetic_batch.class_ids
    side, settings = config.input.mask_crop_size, config.input
    boxes = synthetic_batch.boxes[:, : settings.max_instances]
    missing = settings.max_instances - boxes.shape[1]
    batch_size, height, width = images.shape[:3]
    bottom, right = (-size % settings.pad_multiple for size in (height, width))
    batch = {
        "images": np.pad(images.astype("float32"), [(0, 0), (0, bottom), (0, right), (0, 0)]),
        "image_sizes": np.tile(np.array([height, width], "float32"), (batch_size, 1)),
        "gt_boxes": np.pad(boxes, [(0, 0), (0, missing), (0, 0)]),
        "gt_class_ids": np.pad(class_ids[:, : settings.max_instances], [(0, 0), (0, missing)]),
        "seeds": np.arange(2 * batch_size, dtype="int32").reshape(batch_size, 2),
    }
    if config.mask_head:
        crop = ellipse((0, 0, side, side), side, side).astype("uint8")  # in its box, an ellipse is a disk
        crops = np.broadcast_to(crop, (*boxes.shape[:2], side, side))
        batch["gt_masks"] = np.pad(crops, [(0, 0), (0, missing), (0, 0), (0, 0)])
    return {name: tf.constant(value) for name, value in batch.items()}
