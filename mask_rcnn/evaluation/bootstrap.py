"""Confidence intervals of COCO's average precision, by resampling the images (bootstrap, Efron 1979).

A resample changes how often an image counts, but not which of its detections match. Matches are therefore
computed once, and the AP of each resample is computed from them. Two models are compared on the same
resamples.

Letters: I images, D detections of a class, T IoU thresholds, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0, 1, 101)  # recall points at which COCO samples the precision
LEVEL = 0.95  # confidence level of an interval
NUM_RESAMPLES = 1000
MAX_ELEMENTS = 1 << 21  # largest number of elements in an array, to limit the memory


@dataclass(frozen=True, kw_only=True)
class ClassMatches:
    """The detections of a class in all images, and which of them match an object.

    A detection that COCO ignores is neither true nor false.

    Args:
        images: `[D]` int, index of the image of each detection. Sorted by descending score.
        is_true: `[T, D]` bool, whether a detection matches an object (true positive).
        is_false: `[T, D]` bool, whether a detection matches nothing (false positive).
        num_objects: `[I]` int, number of objects to detect in each image.
    """

    images: np.ndarray
    is_true: np.ndarray
    is_false: np.ndarray
    num_objects: np.ndarray


def image_counts(num_images: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Returns how often each image is drawn in each resample, `[R, I]` int. Each resample draws I images.

    Args:
        num_images: Number of images, I.
        num_resamples: Number of resamples, R. Defaults to 1000.
        seed: Seed of the random generator. Defaults to 0.
    """
    probabilities = np.full(num_images, 1 / num_images)
    return np.random.default_rng(seed).multinomial(num_images, probabilities, size=num_resamples)


def average_precisions(classes: Sequence[ClassMatches], counts: np.ndarray) -> np.ndarray:
    """Returns COCO's AP of each resample at each IoU threshold: the mean over the classes with objects.

    Args:
        classes: Sequence of `ClassMatches`.
        counts: `[R, I]` int, how often each image counts.

    Returns:
        `[R, T]` float64 in 0..1. NaN for a resample without objects.
    """
    return mean_over_classes(np.stack([class_precisions(matches, counts) for matches in classes]))


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the first axis of `values`, ignoring NaN. NaN where all values are NaN."""
    is_known = ~np.isnan(values)
    total = np.where(is_known, values, 0).sum(axis=0)
    return np.where(is_known.any(axis=0), total / np.maximum(is_known.sum(axis=0), 1), np.nan)


def class_precisions(matches: ClassMatches, counts: np.ndarray) -> np.ndarray:
    """Returns COCO's AP of one class in each resample, at each IoU threshold.

    The result is that of pycocotools for a data set in which each image is repeated by its count. Only the
    order of equal scores in one image may differ.

    Args:
        matches: `ClassMatches`.
        counts: `[R, I]` int, how often each image counts.

    Returns:
        `[R, T]` float64 in 0..1. NaN for a resample without an object of the class.
    """
    result = np.full([len(counts), len(matches.is_true)], np.nan)
    num_objects = counts @ matches.num_objects  # [R]
    known = np.flatnonzero(num_objects)
    step = max(MAX_ELEMENTS // max(matches.is_true.size, 1), 1)
    for start in range(0, len(known), step):
        part = known[start : start + step]
        result[part] = _weighted_precision(matches, counts[part][:, matches.images], num_objects[part])
    return result


def _weighted_precision(matches, weights, num_objects):
    """Returns the mean precision of a class over the recall points `RECALLS`, `[R, T]`.

    Args:
        matches: `ClassMatches`.
        weights: `[R, D]` int, how often each resample contains each detection.
        num_objects: `[R]`, number of objects in each resample, above 0.
    """
    weights = weights[:, None].astype(float)  # [R, 1, D]
    num_true = np.cumsum(weights * matches.is_true, axis=2)
    total = np.cumsum(weights * (matches.is_true | matches.is_false), axis=2)
    columns = matches.is_true.any(axis=0)  # recall grows only at true positives
    num_true, total = num_true[..., columns], total[..., columns]
    precision = num_true / np.maximum(total, 1)
    precision = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    recall = num_true / num_objects[:, None, None]
    reached = np.searchsorted(RECALLS, recall, side="right")  # number of recall points up to this recall
    new = np.diff(reached, axis=2, prepend=0)
    return (new * precision).sum(axis=2) / len(RECALLS)


def confidence_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """Returns the interval (low, high) that contains the fraction `level` of the values. None if all are NaN.

    Args:
        values: `[R]` float, one value per resample. NaN is ignored.
        level: Confidence level in 0..1. Defaults to 0.95.
    """
    measured = values[~np.isnan(values)]
    if not len(measured):
        return None
    low, high = np.quantile(measured, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
