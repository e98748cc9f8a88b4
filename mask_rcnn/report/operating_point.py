"""Results at the score thresholds with the largest F1: a confusion matrix, and errors of each image."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.report.detection_matches import DetectionMatches
from mask_rcnn.report.errors import FOREGROUND_IOU


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The detections whose score reaches the threshold of their class.

    Args:
        kept: `[D]` bool, detections that reach the threshold and are not ignored.
        hits: `[D]` bool, kept detections that match an object at IoU 0.5.
        found: `[G]` bool, objects that they match.
        missed: `[G]` bool, objects that are neither matched nor ignored.
        confused: `[D]` int, index of the object of another class that a wrong detection covers, or -1.
    """

    kept: np.ndarray
    hits: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    confused: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """`[D]` bool, kept detections that are false positives."""
        return self.kept & ~self.hits


def operating_point(evaluation: DetectionMatches, thresholds: np.ndarray) -> OperatingPoint:
    """Returns the `OperatingPoint` at score thresholds, `[K]`.

    COCO's matches at IoU 0.5 come first. The remaining detections and objects are matched across classes. In
    order of decreasing score, each detection gets the free object with the largest IoU, if it is at least
    0.5.

    Args:
        evaluation: `DetectionMatches`.
        thresholds: `[K]`, score threshold of each class.
    """
    kept = (evaluation.scores >= thresholds[evaluation.classes]) & ~evaluation.ignored[0]
    hits = kept & evaluation.is_hit[0]
    found = np.zeros(len(evaluation.object_images), bool)
    found[evaluation.matches[0, hits]] = True
    missed = ~found & ~evaluation.object_ignored
    confused = np.full(len(kept), -1)
    for rows, columns, overlaps in evaluation.per_image():
        is_free = missed[columns]
        for row, overlap in zip(rows, overlaps, strict=True):
            if not kept[row] or hits[row] or not is_free.any():
                continue
            column = np.where(is_free, overlap, -1).argmax()
            if overlap[column] >= FOREGROUND_IOU:
                confused[row] = columns[column]
                is_free[column] = False
    return OperatingPoint(kept=kept, hits=hits, found=found, missed=missed, confused=confused)


def confusion_matrix(evaluation: DetectionMatches, point: OperatingPoint) -> np.ndarray:
    """Returns the confusion matrix of classes.

    Args:
        evaluation: `DetectionMatches`.
        point: `OperatingPoint`.

    Returns:
        `[K + 1, K + 1]` int: number of objects of the class of the row that were detected as the class of the
        column. The last column counts objects that were not detected. The last row counts detections without
        an object.
    """
    background = evaluation.num_classes
    matrix = np.zeros((background + 1, background + 1), int)
    rows = np.flatnonzero(point.hits)
    np.add.at(matrix, (evaluation.classes[rows], evaluation.classes[rows]), 1)
    rows = np.flatnonzero(point.confused >= 0)
    objects = point.confused[rows]
    np.add.at(matrix, (evaluation.object_classes[objects], evaluation.classes[rows]), 1)
    missed = point.missed.copy()
    missed[objects] = False
    matrix[:-1, background] += np.bincount(evaluation.object_classes[missed], minlength=background)
    without_object = point.wrong & (point.confused < 0)
    matrix[background, :-1] += np.bincount(evaluation.classes[without_object], minlength=background)
    return matrix


def image_errors(evaluation: DetectionMatches, point: OperatingPoint) -> dict[str, np.ndarray]:
    """Counts true and false detections in each image.

    Args:
        evaluation: `DetectionMatches`.
        point: `OperatingPoint`.

    Returns:
        Dict with
        objects, found, missed, wrong: `[I]` int, numbers of objects, of found and missed objects, and of
            wrong detections.
        f1: `[I]` float. 1 if an image has neither objects nor detections.
    """

    def count(images, is_chosen):
        return np.bincount(images[is_chosen], minlength=evaluation.num_images)

    found = count(evaluation.images, point.hits)
    missed = count(evaluation.object_images, point.missed)
    wrong = count(evaluation.images, point.wrong)
    total = 2 * found + missed + wrong
    f1 = np.where(total > 0, 2 * found / np.maximum(total, 1), 1.0)
    return {"objects": found + missed, "found": found, "missed": missed, "wrong": wrong, "f1": f1}
