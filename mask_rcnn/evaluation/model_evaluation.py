"""Evaluation of a model: detects the objects in all images of a data set, then computes their AP.

`coco_evaluation` computes the AP. It also evaluates results files without a model.

    records -> batches of one padded shape -> detections of each image -> scores

The last digits of the detections of an image depend on its batch, because a convolution may sum in another
order for another batch. Here the batches depend only on the data set. Several processes that divide the
batches therefore compute exactly the same detections as one process.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.records import Dataset, ImageRecord
from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.errors import UnreadableImage
from mask_rcnn.evaluation.average_precision import Backend
from mask_rcnn.evaluation.class_matching import match_categories
from mask_rcnn.evaluation.coco_evaluation import (
    check_options,
    content_of_dataset,
    default_max_detections,
    score_entries,
)
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.heads import iou_types_of
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.system.parallel import equal_batches
from mask_rcnn.system.paths import AnyPath


def evaluate_model(
    predictor: ImagePredictor | TiledPredictor,
    dataset: Dataset,
    annotations: AnyPath | dict | CocoContent | None,
    *,
    track: Callable[[Iterator], Iterable] = iter,
    batch_size: int | None = None,
    threads: int | None = None,
    **options: Any,
) -> tuple[Metrics, list[dict]]:
    """Detects the objects in all images of a data set, and evaluates the detections.

    An image that cannot be read is not evaluated: neither its objects nor its detections count. If there are
    more of them than the model's `data.max_bad_images` allows, an error is raised.

    Args:
        predictor: An `ImagePredictor` or a `TiledPredictor`.
        dataset: A `Dataset`. Its classes are matched with the model's by name.
        annotations: Path of the COCO json that the data set was read from, its content, or its `CocoContent`.
            None creates it from the records of the data set.
        track: Function that wraps the iterator of results, such as a progress bar. Defaults to `iter`.
        batch_size, threads: See `predict_many`.
        options: Other arguments of `ModelEvaluation`.

    Returns:
        Tuple of `Metrics`, and the entries of a COCO results file.
    """
    evaluation = ModelEvaluation(predictor, dataset, annotations, **options)
    return evaluation.score(evaluation.detect(track=track, batch_size=batch_size, threads=threads))


class ModelEvaluation:
    """The two steps of `evaluate_model`: `detect`, which several processes can share, and `score`.

    Args:
        predictor, dataset, annotations: See `evaluate_model`.
        backend: See `evaluate_results`.
        max_detections: See `evaluate_results`. Defaults to the model's maximum; for LVIS to 300.
        shared_classes: Whether to evaluate only the classes that model and annotations share. Defaults to
            False: the classes must be the same.
        unreadable: `UnreadableImages` of earlier evaluations of the same data set. Its images are not
            reported again. Defaults to a new one.
    """

    def __init__(
        self,
        predictor: ImagePredictor | TiledPredictor,
        dataset: Dataset,
        annotations: AnyPath | dict | CocoContent | None,
        *,
        backend: Backend = "pycocotools",
        max_detections: int | None = None,
        shared_classes: bool = False,
        unreadable: UnreadableImages | None = None,
    ):
        sizes = map(tuple, np.unique(dataset.sizes, axis=0).tolist())
        self.limits = {size: predictor.max_detections(size) for size in sizes}
        self.iou_types = iou_types_of(predictor.config)
        content = content_of_dataset(dataset, annotations)
        if max_detections is None:
            max_detections = default_max_detections(content, max(self.limits.values()))
        self.max_detections: int = max_detections
        check_options(self.iou_types, backend, self.max_detections)
        self.categories, self.notes = match_categories(
            predictor.categories, dataset.categories, shared_classes
        )
        names = {category.name for category in self.categories if category}
        self.content = _with_categories(content, names)
        self.predictor, self.dataset = predictor, dataset
        self.backend: Backend = backend
        self.unreadable = unreadable or UnreadableImages(dataset, predictor.config.data.max_bad_images)

    def detect(
        self,
        shard: tuple[int, int] = (0, 1),
        *,
        track: Callable[[Iterator], Iterable] = iter,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> list[tuple[int | str, list[dict], int]]:
        """Detects the objects in the images of a shard. Images that cannot be read are added to `unreadable`.

        Args:
            shard: Tuple (index from 0, number of shards). Shard i has every batch whose number modulo the
                number of shards is i. Defaults to (0, 1): all batches.
            track, batch_size, threads: See `evaluate_model`. All shards must use the same batch size.

        Returns:
            List with one tuple per image: image id, list of entries of a COCO results file, and number of
            detections of the model.
        """
        size = self.predictor.default_batch_size() if batch_size is None else batch_size
        batches = record_batches(self.predictor, self.dataset.images, size)[shard[0] :: shard[1]]
        numbers = {record.id: number for number, batch in enumerate(batches) for record in batch}
        detected = self.predictor.predict_many(
            [record for batch in batches for record in batch],
            batch_size=size,
            threads=threads,
            image_of=lambda record: record.path,
            batch_of=lambda record: numbers[record.id],
            finish=functools.partial(_coco_entries, categories=self.categories),
        )
        detections = []
        with contextlib.closing(detected):
            for record, result in track(detected):
                if isinstance(result, UnreadableImage):
                    self.unreadable.add(record, result)
                elif isinstance(result, Exception):
                    raise result
                else:
                    detections.append((record.id, *result))
        return detections

    def score(self, detections: Iterable[tuple[int | str, list[dict], int]]) -> tuple[Metrics, list[dict]]:
        """Evaluates detections.

        Args:
            detections: The concatenated lists of `detect` of all shards.

        Returns:
            Tuple of `Metrics`, and the entries of a COCO results file in the order of the data set.

        Raises:
            ValueError: If the results of some images are missing.
        """
        results_by_image = {image_id: (entries, count) for image_id, entries, count in detections}
        records = self.dataset.images
        ids = [record.id for record in records]
        missing = [id for id in ids if id not in results_by_image and id not in self.unreadable.reasons]
        if missing:
            raise ValueError(
                "The detections of all images must be given. "
                f"Received: {self.dataset.name} without those of {len(missing)} of {len(ids)} images, such "
                f"as id {missing[0]}. Give all processes of a run the same data set."
            )
        image_ids = [id for id in ids if id in results_by_image]
        results = [entry for id in image_ids for entry in results_by_image[id][0]]
        num_limited = sum(
            results_by_image[record.id][1] >= self.limits[record.height, record.width]
            for record in records
            if record.id in results_by_image
        )
        notes = [*self.notes]
        if num_limited:
            limit = max(self.limits.values())
            notes.append(f"{num_limited} images have up to {limit} detections, the maximum of the model")
        notes += self.unreadable.warnings()
        metrics = score_entries(
            results,
            self.content,
            image_ids,
            iou_types=self.iou_types,
            backend=self.backend,
            max_detections=self.max_detections,
            warnings=notes,
        )
        return metrics, results


def record_batches(
    predictor: ImagePredictor | TiledPredictor, records: Sequence[ImageRecord], size: int
) -> list[list[ImageRecord]]:
    """Returns the records of images in batches of equal padded shape.

    At most one batch per shape is not full.

    Args:
        predictor: An `ImagePredictor` or a `TiledPredictor`.
        records: Sequence of `ImageRecord`.
        size: Number of images in a full batch.

    Returns:
        List of lists of `ImageRecord`.
    """

    def key(record):
        return predictor.batch_key((record.height, record.width))

    return list(equal_batches(records, key, batch_size=size, window=len(records)))


def _coco_entries(record, detections, pixels, *, categories):
    """Returns the detections of an image as entries of a results file, and the number of its detections.

    Args:
        record: `ImageRecord`.
        detections: `Detections`.
        pixels: Not used, see `predict_many`.
        categories: List of `match_categories`. Detections of classes without a category are left out.

    Raises:
        UnreadableImage: If the size of the image is not the one in the data set.
    """
    if detections.image_size != (record.height, record.width):
        raise UnreadableImage(
            "An image must not change after the data set is read. "
            f"Received: path={str(record.path)!r}, (height, width)={detections.image_size} instead of "
            f"{(record.height, record.width)}. Evaluate on a copy of the data."
        )
    has_category = [categories[class_id - 1] is not None for class_id in detections.class_ids]
    return to_coco(detections.select(has_category), record.id, categories), len(detections)


def _with_categories(content, names):
    """Returns a `CocoContent` with only the categories of these names and their annotations."""
    kept = tuple(category for category in content.categories if category.name in names)
    ids = {category.id for category in kept}
    rows = np.isin(content.annotations.table.class_ids, list(ids))
    return dataclasses.replace(content, categories=kept, annotations=content.annotations.take(rows))
