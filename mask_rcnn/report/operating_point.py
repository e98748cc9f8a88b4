"""What is right and wrong at the score thresholds that maximize F1: a confusion matrix, images, slices."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.report.errors import FOREGROUND_IOU


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The detections with a score of at least the threshold of their class.

    Args:
        kept: `[D]` bool, detections that are kept and count.
        hits: `[D]` bool, those of them that found an object at IoU 0.5.
        found: `[G]` bool, the objects that they found.
        missed: `[G]` bool, the objects that count and were not found.
        confused: `[D]` int, index of the object of another class that a wrong detection covers, or -1.
    """

    kept: np.ndarray
    hits: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    confused: np.ndarray

    @property
    def wrong(self):
        """`[D]` bool, kept detections that are false positives."""
        return self.kept & ~self.hits


def operating_point(evaluation, thresholds):
    """Returns the `OperatingPoint` of score thresholds, `[K]`.

    COCO's matches of an IoU threshold of 0.5 come first. Detections and objects that are left over are paired
    across classes: each detection, the best first, gets the free object of the largest IoU from 0.5.
    """
    kept = (evaluation.scores >= thresholds[evaluation.classes]) & ~evaluation.ignored[0]
    hits = kept & evaluation.is_hit[0]
    found = np.zeros(len(evaluation.object_images), bool)
    found[evaluation.matches[0, hits]] = True
    missed = ~found & ~evaluation.object_ignored
    confused = np.full(len(kept), -1)
    for rows, columns, overlaps in evaluation.per_image():
        free = missed[columns]
        for row, overlap in zip(rows, overlaps, strict=True):
            if not kept[row] or hits[row] or not free.any():
                continue
            column = np.where(free, overlap, -1).argmax()
            if overlap[column] >= FOREGROUND_IOU:
                confused[row] = columns[column]
                free[column] = False
    return OperatingPoint(kept=kept, hits=hits, found=found, missed=missed, confused=confused)


def confusion_matrix(evaluation, point):
    """Returns which class was detected as which.

    Args:
        evaluation: `Evaluation`.
        point: `OperatingPoint`.

    Returns:
        `[K + 1, K + 1]` int: objects of class (row) that were detected as class (column). The last column
        has the objects that were not detected, the last row the detections of background.
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
    np.add.at(matrix, (evaluation.object_classes[missed], background), 1)
    invented = point.wrong & (point.confused < 0)
    np.add.at(matrix, (background, evaluation.classes[invented]), 1)
    return matrix


def image_errors(evaluation, point):
    """Counts what is right and wrong in each image.

    Returns:
        `{"objects", "found", "missed", "wrong": [I] int, "f1": [I]}`; F1 is 1 where there is nothing to find
        and nothing is detected.
    """

    def count(images, which):
        return np.bincount(images[which], minlength=evaluation.num_images)

    found = count(evaluation.images, point.hits)
    missed = count(evaluation.object_images, point.missed)
    wrong = count(evaluation.images, point.wrong)
    total = 2 * found + missed + wrong
    f1 = np.where(total > 0, 2 * found / np.maximum(total, 1), 1.0)
    return {"objects": found + missed, "found": found, "missed": missed, "wrong": wrong, "f1": f1}
