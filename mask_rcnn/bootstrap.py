"""Confidence intervals of COCO's average precision, by resampling the images (bootstrap, Efron 1979).

A resample changes how often an image counts, not which of its detections match. So the matches are found
once, and the AP of each resample is computed from them. Two models are compared on the same resamples.

Letters: I images, D detections of a class, T IoU thresholds, R resamples.
"""

from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
LEVEL = 0.95  # of an interval
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class ClassMatches:
    """The detections of a class in all images, and which of them match an object.

    Args:
        images: `[D]` int, the number of the image of each detection, from 0. The detection with the highest
            score is first.
        is_true: `[T, D]` bool, whether a detection matches an object.
        is_false: `[T, D]` bool, whether it matches nothing. Neither is true of one that COCO ignores.
        num_objects: `[I]` int, the objects to find in each image.
    """

    images: np.ndarray
    is_true: np.ndarray
    is_false: np.ndarray
    num_objects: np.ndarray


def image_counts(num_images, num_resamples=NUM_RESAMPLES, seed=0):
    """Returns how often each image is drawn in each resample, `[R, I]` int; each draws I images.

    Args:
        num_images: I.
        num_resamples: R. Defaults to 1000.
        seed: Of the random generator. Defaults to 0.
    """
    shares = np.full(num_images, 1 / num_images)
    return np.random.default_rng(seed).multinomial(num_images, shares, size=num_resamples)


def average_precisions(classes, counts):
    """Returns COCO's AP of resamples at each IoU threshold: the mean over the classes that have objects.

    It is what pycocotools gives for a data set in which each image occurs as often as it counts. Only the
    order of equal scores in one image may differ.

    Args:
        classes: Sequence of `ClassMatches`.
        counts: `[R, I]` int, how often each image counts.

    Returns:
        `[R, T]` float64; NaN for a resample without an object.
    """
    num_thresholds = classes[0].is_true.shape[0]
    result = np.full([len(counts), num_thresholds], np.nan)
    for row, each in enumerate(counts):
        measured = [_class_precision(one, each) for one in classes if each @ one.num_objects]
        if measured:
            result[row] = np.mean(measured, axis=0)
    return result


def _class_precision(one, counts):
    """Returns the mean precision over `RECALLS` of a class at each IoU threshold, `[T]`."""
    weights = counts[one.images]  # [D]
    true, false = (np.cumsum(flags * weights, axis=1) for flags in (one.is_true, one.is_false))
    recall = true / (counts @ one.num_objects)
    precision = true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, [(0, 0), (0, 1)])  # 0 where no detection reaches a recall
    places = (np.searchsorted(each, RECALLS, side="left") for each in recall)
    return np.array([values[place].mean() for values, place in zip(precision, places, strict=True)])


def interval(values, level=LEVEL):
    """Returns the (low, high) between which the share `level` of values lies; None without a number.

    Args:
        values: `[R]` float, a number of each resample; NaN is left out.
        level: Defaults to 0.95.
    """
    measured = values[~np.isnan(values)]
    if not len(measured):
        return None
    low, high = np.quantile(measured, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
