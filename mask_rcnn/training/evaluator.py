"""`Evaluator`: evaluates a model on the validation set during a run."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from mask_rcnn.data.image_io.rgb8 import to_rgb8
from mask_rcnn.data.records import Dataset, ImageRecord
from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.errors import UnreadableImage
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from mask_rcnn.heads import iou_types_of
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Detections
from mask_rcnn.training.distributed_evaluation import ValidationLosses, evaluate_distributed
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.processes import run_context
from mask_rcnn.visualization.drawing import draw

# Minimum score of detections in pictures: those that are more likely correct than wrong.
PICTURE_SCORE = 0.5
NUM_PICTURES = 8
NUM_DRY_RUN_IMAGES = 2  # images evaluated before the first step
LOSS_PREFIX = "val_"  # Keras's prefix for the losses on a validation set


class Evaluator:
    """Evaluates the model of a run on its validation set.

    With several processes, all of them must call `evaluate` and `losses`. Each process evaluates a part of
    the images.

    Args:
        predictor: `Predictor`. Each call uses its current weights.
        dataset: `Dataset`, the validation set.
        annotations_path: Path of the COCO json of the data set, or None to use the annotations of `dataset`.

    Attributes:
        context: `RunContext` of the strategy that is active when the object is created.
        best_by: Name of the metric that selects the best weights, `train.best_metric`. Names that begin with
            "val_" are losses, where lower is better. For all others higher is better.
        results: Entries of a COCO results file from the last evaluation, in the chief. None before, and in
            the other processes.
        metrics: `Metrics` of the last evaluation. None before.
    """

    def __init__(self, predictor: Predictor, dataset: Dataset, annotations_path: str | Path | None) -> None:
        self.predictor = predictor
        self.dataset = dataset
        self.context = run_context(tf.distribute.get_strategy())
        self.content = content_of_dataset(
            dataset, annotations_path
        )  # read once: the file may change during a run
        config = predictor.config
        self.best_by = config.train.best_metric or f"{iou_types_of(config)[-1]}/AP"
        self.unreadable = UnreadableImages(dataset, config.data.max_bad_images)
        self.results: list[dict] | None = None
        self.metrics: Metrics | None = None
        self._validation_losses = ValidationLosses(dataset, self.context)

    def evaluate(self) -> dict[str, float | None]:
        """Detects the objects in all images and sets `results` and `metrics`.

        Returns:
            The values of `metrics` as a flat dict such as `{"segm/AP50": 0.5}`. A value is None if it cannot
            be measured.
        """
        evaluation = ModelEvaluation(self.predictor, self.dataset, self.content, unreadable=self.unreadable)
        self.metrics, self.results = evaluate_distributed(evaluation, self.context)
        return _flat(self.metrics)

    def losses(self, model: MaskRCNN) -> dict[str, float]:
        """Returns the mean losses of a `MaskRCNN`, such as `{"val_loss": 0.5, ...}`.

        Without `train.validation_loss`, the dict is empty.
        """
        if not self.predictor.config.train.validation_loss:
            return {}
        return {f"{LOSS_PREFIX}{name}": value for name, value in self._validation_losses(model).items()}

    def dry_run(self) -> None:
        """Evaluates the first images, so that an evaluation that cannot work fails before the first step.

        It does not set `results` and `metrics`.

        Raises:
            ValueError: `train.best_metric` is not one of the metrics.
        """
        few = dataclasses.replace(self.dataset, images=self.dataset.images[:NUM_DRY_RUN_IMAGES])
        metrics, _ = evaluate_model(self.predictor, few, self.content, unreadable=self.unreadable)
        is_loss = self.best_by.startswith(LOSS_PREFIX) and self.predictor.config.train.validation_loss
        if self.best_by not in _flat(metrics) and not is_loss:
            raise ValueError(
                f"`train.best_metric` must be one of {', '.join(_flat(metrics))}, or a loss such as val_loss "
                f"with `train.validation_loss`. Received: {self.best_by!r}. Correct it, or leave it out."
            )

    def pictures(self) -> Iterator[tuple[ImageRecord, np.ndarray]]:
        """Yields `(ImageRecord, picture)` for up to NUM_PICTURES images, spread evenly over the data set.

        A picture is `[H, W, 3]` uint8, with the objects whose score is at least PICTURE_SCORE. Unreadable
        images are left out.
        """
        count = min(NUM_PICTURES, len(self.dataset))
        records = [self.dataset.images[i] for i in np.linspace(0, len(self.dataset) - 1, count).astype(int)]
        drawn = self.predictor.predict_many(
            [record for record in records if record.id not in self.unreadable.reasons],
            image_of=lambda record: record.path,
            finish=functools.partial(_drawn, predictor=self.predictor),
            keep_images=True,
            score_threshold=PICTURE_SCORE,
        )
        with contextlib.closing(drawn):
            for record, result in drawn:
                if isinstance(result, UnreadableImage):
                    self.unreadable.add(record, result)
                elif isinstance(result, Exception):
                    raise result
                else:
                    yield record, result


def _flat(metrics: Metrics) -> dict[str, float | None]:
    """Returns the values of `Metrics` as a flat dict such as `{"segm/AP50": 0.5}`."""
    summary = metrics.summary
    return {
        f"{iou_type}/{name}": value for iou_type, values in summary.items() for name, value in values.items()
    }


def _drawn(
    record: ImageRecord,
    detections: Detections,
    pixels: Callable[[], np.ndarray],
    *,
    predictor: Predictor,
) -> np.ndarray:
    """Returns the picture of one image with its detections; called by `predict_many`."""
    return draw(to_rgb8(pixels(), predictor.config.input), detections, predictor.categories)
