"""Compares two runs on the same images: AP difference with its confidence interval, and each image.

The interval is from a paired bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13). Images are drawn with replacement, and both runs are scored on the same draw. The interval is the
middle 95 % of the differences. Detections of an image that was drawn twice count twice.
"""

from collections.abc import Callable, Iterable

import numpy as np

from mask_rcnn.evaluation.bootstrap import (
    class_precisions,
    confidence_interval,
    image_counts,
    mean_over_classes,
)
from mask_rcnn.report.analysis import Analysis
from mask_rcnn.report.detection_matches import DetectionMatches


def compare_by_resampling(
    first: DetectionMatches, second: DetectionMatches, track: Callable[[list], Iterable] = iter
) -> dict:
    """Compares the AP of two evaluations of the same images.

    Args:
        first, second: `DetectionMatches` of the same objects.
        track: Function that yields the (run, class) pairs of a list, to show progress. Defaults to `iter`.

    Returns:
        Dict with
        AP, AP50: Dicts as below, over all classes.
        classes: List of dicts as below, with the AP of each class.
        num_resamples: Number of resamples.
        Each of these dicts has the keys below. All values are None without objects.
        first, second: AP of both runs.
        difference: `second` minus `first`.
        low, high: Bounds of the 95 % interval of the difference.
        share_better: Fraction of the resamples in which the second run is better. Ties count half.
    """
    counts = image_counts(first.num_images)
    counts = np.concatenate([np.ones_like(counts[:1]), counts])  # the first row counts each image once
    classes = [run.class_matches() for run in (first, second)]
    ap = np.empty((2, first.num_classes, len(counts), len(first.thresholds)))
    for run, k in track([(run, k) for run in range(2) for k in range(first.num_classes)]):
        ap[run, k] = class_precisions(classes[run][k], counts)
    total = [mean_over_classes(each) for each in ap]  # [R, T] of each run
    return {
        "AP": _difference(*(each.mean(axis=1) for each in total)),
        "AP50": _difference(*(each[:, 0] for each in total)),
        "classes": [_difference(*ap[:, k].mean(axis=2)) for k in range(first.num_classes)],
        "num_resamples": len(counts) - 1,
    }


def _difference(first, second):
    """Returns the comparison of the AP `[1 + R]` of two runs. Index 0 is the AP without resampling."""
    differences = second - first
    if np.isnan(differences[0]):
        return dict.fromkeys(("first", "second", "difference", "low", "high", "share_better"))
    resampled = differences[1:][~np.isnan(differences[1:])]  # without resamples that have no object
    low, high = confidence_interval(resampled) or (None, None)
    return {
        "first": float(first[0]),
        "second": float(second[0]),
        "difference": float(differences[0]),
        "low": low,
        "high": high,
        "share_better": float((resampled > 0).mean() + (resampled == 0).mean() / 2),
    }


def compare_images(first: Analysis, second: Analysis) -> dict:
    """Compares two runs image by image, each at its own score thresholds.

    Args:
        first, second: `Analysis` of the same objects.

    Returns:
        Dict with
        fixed: Number of objects that only the second run found.
        broken: Number of objects that only the first run found.
        better, equal, worse: Numbers of images in which the second run has fewer, as many, or more errors.
        differences: `[I]` int, errors of the second run minus errors of the first run.
    """
    found_first, found_second = first.point.found, second.point.found
    errors = [run.images["missed"] + run.images["wrong"] for run in (first, second)]
    differences = errors[1] - errors[0]
    is_counted = ~first.evaluation.object_ignored
    return {
        "fixed": int((is_counted & found_second & ~found_first).sum()),
        "broken": int((is_counted & found_first & ~found_second).sum()),
        "better": int((differences < 0).sum()),
        "equal": int((differences == 0).sum()),
        "worse": int((differences > 0).sum()),
        "differences": differences,
    }
