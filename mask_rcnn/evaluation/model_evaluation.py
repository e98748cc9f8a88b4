"""Evaluation of a model: detects the objects in all images of a data set, and computes AP.

    records -> batches of one padded shape -> detections of each image -> scores

Convolutions of other batches sum in another order, so the last digits of an image's detections depend on its
batch. Here the batches depend on the data set only, and no image ever changes its batch. Several processes
that share the batches therefore find exactly what one process finds.
"""

import contextlib
import dataclasses
import functools

import numpy as np

from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.errors import UnreadableImage
from mask_rcnn.evaluation.class_matching import match_categories
from mask_rcnn.evaluation.coco_evaluation import (
    check_options,
    content_of_dataset,
    default_max_detections,
    score_entries,
)
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.heads import iou_types_of
from mask_rcnn.system.parallel import equal_batches


def evaluate_model(predictor, dataset, annotations, *, track=iter, batch_size=None, threads=None, **options):
    """Detects the objects in all images of a data set, and evaluates the detections.

    An image that cannot be read is not evaluated: neither its objects nor its detections count. If there are
    more of them than the model's `data.max_bad_images` allows, an error is raised.

    Args:
        predictor: An `ImagePredictor` or a `TiledPredictor`.
        dataset: A `Dataset`. Its classes are matched with the model's by name.
        annotations: Path of the COCO json that the data set was read from, its content, or its `CocoContent`.
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
        predictor,
        dataset,
        annotations,
        *,
        backend="pycocotools",
        max_detections=None,
        shared_classes=False,
        unreadable=None,
    ):
        sizes = map(tuple, np.unique(dataset.sizes, axis=0).tolist())
        self.limits = {size: predictor.max_detections(size) for size in sizes}
        self.iou_types = iou_types_of(predictor.config)
        content = content_of_dataset(dataset, annotations)
        self.max_detections = max_detections
        if max_detections is None:
            self.max_detections = default_max_detections(content, max(self.limits.values()))
        check_options(self.iou_types, backend, self.max_detections)
        self.categories, self.notes = match_categories(
            predictor.categories, dataset.categories, shared_classes
        )
        names = {category.name for category in self.categories if category}
        self.content = _only(content, names)
        self.predictor, self.dataset, self.backend = predictor, dataset, backend
        self.unreadable = unreadable or UnreadableImages(dataset, predictor.config.data.max_bad_images)

    def detect(self, share=(0, 1), track=iter, batch_size=None, threads=None):
        """Detects the objects in the images of a share. Images that cannot be read are added to `unreadable`.

        Args:
            share: Tuple (index from 0, number of shares) of the share of the batches. Defaults to all
                batches.
            track, batch_size, threads: See `evaluate_model`. All shares must use the same batch size.

        Returns:
            List with one tuple per image: image id, list of entries of a COCO results file, and number of
            detections of the model.
        """
        size = self.predictor.default_batch_size() if batch_size is None else batch_size
        batches = record_batches(self.predictor, self.dataset.images, size)[share[0] :: share[1]]
        numbers = {record.id: number for number, batch in enumerate(batches) for record in batch}
        detected = self.predictor.predict_many(
            [record for batch in batches for record in batch],
            batch_size=size,
            threads=threads,
            image_of=lambda record: record.path,
            batch_of=lambda record: numbers[record.id],
            finish=functools.partial(_coco_entries, categories=self.categories),
        )
        found = []
        with contextlib.closing(detected):
            for record, result in track(detected):
                if isinstance(result, UnreadableImage):
                    self.unreadable.add(record, result)
                elif isinstance(result, Exception):
                    raise result
                else:
                    found.append((record.id, *result))
        return found

    def score(self, found):
        """Evaluates detections.

        Args:
            found: The concatenated lists of `detect` of all shares.

        Returns:
            Tuple of `Metrics`, and the entries of a COCO results file in the order of the data set.

        Raises:
            ValueError: If the results of some images are missing.
        """
        found = {image_id: each for image_id, *each in found}
        records = self.dataset.images
        ids = [record.id for record in records]
        missing = [each for each in ids if each not in found and each not in self.unreadable.reasons]
        if missing:
            raise ValueError(
                "The detections of all images must be given. "
                f"Received: {self.dataset.name} without those of {len(missing)} of {len(ids)} images, such "
                f"as id {missing[0]}. Give all processes of a run the same data set."
            )
        image_ids = [each for each in ids if each in found]
        results = [entry for each in image_ids for entry in found[each][0]]
        full = sum(
            found[record.id][1] >= self.limits[record.height, record.width]
            for record in records
            if record.id in found
        )
        notes = [*self.notes]
        if full:
            limit = max(self.limits.values())
            notes.append(f"{full} images have up to {limit} detections, the maximum of the model")
        notes += self.unreadable.warnings()
        metrics = score_entries(
            results, self.content, image_ids, self.iou_types, self.backend, self.max_detections, notes
        )
        return metrics, results


def record_batches(predictor, records, size):
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

    return list(equal_batches(records, key, size, window=len(records)))


def _coco_entries(record, detections, pixels, categories):
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
    shared = [categories[class_id - 1] is not None for class_id in detections.class_ids]
    return to_coco(detections.keep(shared), record.id, categories), len(detections)


def _only(content, names):
    """Returns a `CocoContent` with only the categories of these names and their annotations."""
    kept = tuple(category for category in content.categories if category.name in names)
    ids = {category.id for category in kept}
    rows = np.isin(content.annotations.table.class_ids, list(ids))
    return dataclasses.replace(content, categories=kept, annotations=content.annotations.take(rows))
