"""Flat arrays of the matches between all detections and objects of an evaluation.

Letters: T IoU thresholds, R recall points, K classes, S size ranges, D detections, G objects.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.evaluation.average_precision import class_average_precision, summary_of
from mask_rcnn.evaluation.bootstrap import ClassMatches
from mask_rcnn.report.overlaps import evaluate_overlaps

NONE = -1


@dataclass(frozen=True, kw_only=True)
class DetectionMatches:
    """The matches of all detections with all objects for one IoU type.

    Detections and objects are ordered by image, and the detections of an image by score.

    Args:
        iou_type: "bbox", "segm", "boundary" or "keypoints".
        thresholds: `[T]`, the IoU thresholds 0.50, 0.55, .. 0.95.
        summary: COCO's metrics by name.
        class_ap: List with the AP of each class. None without objects.
        precision: `[T, R, K, S]`, as in COCOeval. -1 without objects.
        num_images, num_classes: Numbers of images and classes.
        images: `[D]` int, index of the image.
        classes: `[D]` int, index of the class, from 0.
        scores: `[D]` float.
        entries: `[D]` int, index in the results file.
        matches: `[T, D]` int, index of the matched object, or -1.
        ignored: `[T, D]` bool, detections that are neither true nor false positives.
        object_images, object_classes: `[G]` int, index of the image and of the class of each object.
        annotations: `[G]` int, index in `content.annotations`.
        object_ignored: `[G]` bool, objects that need not be found, such as crowd regions.
        overlaps: For each image, the `[D, G]` IoU of its detections with its objects.
    """

    iou_type: str
    thresholds: np.ndarray
    summary: dict
    class_ap: list
    precision: np.ndarray
    num_images: int
    num_classes: int
    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    entries: np.ndarray
    matches: np.ndarray
    ignored: np.ndarray
    object_images: np.ndarray
    object_classes: np.ndarray
    annotations: np.ndarray
    object_ignored: np.ndarray
    overlaps: tuple[np.ndarray, ...]

    @cached_property
    def is_hit(self) -> np.ndarray:
        """`[T, D]` bool, true positives: detections that match an object and are not ignored."""
        return (self.matches >= 0) & ~self.ignored

    @cached_property
    def is_wrong(self) -> np.ndarray:
        """`[T, D]` bool, false positives."""
        return (self.matches < 0) & ~self.ignored

    @cached_property
    def object_counts(self) -> np.ndarray:
        """`[K]` int, number of objects of each class that are not ignored."""
        return np.bincount(self.object_classes[~self.object_ignored], minlength=self.num_classes)

    @cached_property
    def found_by(self) -> np.ndarray:
        """`[G]` int, index of the detection that matches each object at IoU 0.5, or -1."""
        detections = np.full(len(self.object_images), NONE)
        rows = np.flatnonzero(self.is_hit[0])
        detections[self.matches[0, rows]] = rows
        return detections

    def class_matches(self) -> list[ClassMatches]:
        """Returns a list with the `ClassMatches` of each class, to compute the AP of resampled images."""
        is_object = ~self.object_ignored
        result = []
        for k in range(self.num_classes):
            of_class = is_object & (self.object_classes == k)
            rows = np.flatnonzero(self.classes == k)
            rows = rows[np.argsort(-self.scores[rows], kind="stable")]  # equal scores in the order of images
            result.append(
                ClassMatches(
                    images=self.images[rows],
                    is_true=self.is_hit[:, rows],
                    is_false=self.is_wrong[:, rows],
                    num_objects=np.bincount(self.object_images[of_class], minlength=self.num_images),
                )
            )
        return result

    def per_image(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields (rows of detections, rows of objects, `[D, G]` IoU) of each image."""
        numbers = np.arange(self.num_images + 1)
        starts = np.searchsorted(self.images, numbers)
        object_starts = np.searchsorted(self.object_images, numbers)
        for i, overlaps in enumerate(self.overlaps):
            yield (
                np.arange(starts[i], starts[i + 1]),
                np.arange(object_starts[i], object_starts[i + 1]),
                overlaps,
            )


def match_detections(
    content: CocoContent,
    entries: Sequence[dict],
    image_ids: Sequence[int | str],
    *,
    iou_type: str,
    max_detections: int,
    track: Callable[[list], Iterable] = iter,
) -> DetectionMatches:
    """Evaluates detections for one IoU type.

    Args:
        content: `CocoContent` of the annotations.
        entries: Checked entries of a results file.
        image_ids: Ids of the evaluated images, in the order of `sorted_image_ids`.
        iou_type: One of "bbox", "segm", "keypoints", or "boundary" for Boundary AP.
        max_detections: Maximum number of detections per class and image. The best are evaluated.
        track: Function that yields the images of a list, to show progress. Defaults to `iter`.

    Returns:
        `DetectionMatches`.
    """
    evaluator = evaluate_overlaps(
        content, entries, image_ids, iou_type=iou_type, max_detections=max_detections, track=track
    )
    arrays = {name: np.asarray(evaluator.eval[name]) for name in ("precision", "recall")}
    parameters, numbers = evaluator.params, evaluator.params.imgIds
    index_of = {category: index for index, category in enumerate(parameters.catIds)}
    detections = [(i, each) for i, number in enumerate(numbers) for each in evaluator.detections_of(number)]
    objects = [(i, each) for i, number in enumerate(numbers) for each in evaluator.objects_of(number)]
    detection_ids = np.array([each["id"] for _, each in detections], int)
    object_ids = np.array([each["id"] for _, each in objects], int)
    matches, ignored = _matches(evaluator, detection_ids, object_ids)
    return DetectionMatches(
        iou_type=iou_type,
        thresholds=parameters.iouThrs,
        summary=summary_of(arrays, parameters.iouType, content.frequencies),
        class_ap=class_average_precision(arrays["precision"]),
        precision=arrays["precision"][..., -1],
        num_images=len(numbers),
        num_classes=len(index_of),
        images=np.array([i for i, _ in detections], int),
        classes=np.array([index_of[each["category_id"]] for _, each in detections], int),
        scores=np.array([each["score"] for _, each in detections], float),
        entries=detection_ids - 1,
        matches=matches,
        ignored=ignored,
        object_images=np.array([i for i, _ in objects], int),
        object_classes=np.array([index_of[each["category_id"]] for _, each in objects], int),
        annotations=object_ids - 1,
        object_ignored=np.array([bool(each["ignore"]) for _, each in objects], bool),
        overlaps=tuple(evaluator.overlaps[number] for number in numbers),
    )


def _matches(evaluator, detection_ids, object_ids):
    """Returns `matches` and `ignored` of a `DetectionMatches` from the results of all images and classes."""
    shape = len(evaluator.params.iouThrs), len(detection_ids)
    row_of = {id: row for row, id in enumerate(detection_ids.tolist())}
    object_row = np.full(object_ids.max(initial=0) + 1, NONE)
    object_row[object_ids] = np.arange(len(object_ids))
    matches, ignored = np.full(shape, NONE), np.zeros(shape, bool)
    num_images, num_areas = len(evaluator.params.imgIds), len(evaluator.params.areaRng)
    for number, result in evaluator.evalImgs.items.items():
        if number // num_images % num_areas:  # only the first size range, which contains all sizes
            continue
        rows = [row_of[id] for id in result["dtIds"]]
        matches[:, rows] = object_row[result["dtMatches"]]  # id 0 means no object and gives -1
        ignored[:, rows] = result["dtIgnore"]
    return matches, ignored
