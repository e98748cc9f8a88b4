"""Two runs on the same images: the difference of their AP with its confidence interval, and image by image.

The interval is that of a paired bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13): images are drawn with replacement, both runs are scored on the same draw, and the middle 95 % of
the differences are the interval. Detections of an image that was drawn twice count twice.
"""

import numpy as np

from mask_rcnn.bootstrap import class_precisions, image_counts, interval, mean_over_classes


def compare_by_resampling(first, second, track=iter):
    """Compares the AP of two evaluations of the same images.

    Args:
        first, second: `Evaluation`, of the same objects.
        track: What (run, class) pairs are iterated through, to show progress.

    Returns:
        `AP`, `AP50` and `classes` (a list of AP), each a dict, all None without objects, with

        - `first`, `second`, and `difference`: second minus first;
        - `low`, `high`: of the 95 % interval of the difference;
        - `share_better`: share of the resamples in which the second run is better, with half of the ties;

        and `num_resamples`.
    """
    counts = image_counts(first.num_images)
    counts = np.concatenate([np.ones_like(counts[:1]), counts])  # the first row is the data set itself
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
    """Returns a dict of `compare_by_resampling` from the `[R]` AP of each run, of all images first."""
    differences = second - first
    if np.isnan(differences[0]):
        return dict.fromkeys(("first", "second", "difference", "low", "high", "share_better"))
    resampled = differences[1:][~np.isnan(differences[1:])]  # without those that have no object
    low, high = interval(resampled)
    return {
        "first": float(first[0]),
        "second": float(second[0]),
        "difference": float(differences[0]),
        "low": low,
        "high": high,
        "share_better": float((resampled > 0).mean() + (resampled == 0).mean() / 2),
    }


def compare_images(first, second):
    """Compares two runs image by image, each at its own score thresholds.

    Args:
        first, second: `Analysis`, of the same objects.

    Returns:
        A dict with

        - `fixed`, `broken`: how many objects only the second, and only the first run found;
        - `better`, `equal`, `worse`: in how many images the second run makes fewer, as many and more errors;
        - `differences`: `[I]` int, errors of the second run minus errors of the first.
    """
    found = first.point.found, second.point.found
    errors = [run.images["missed"] + run.images["wrong"] for run in (first, second)]
    differences = errors[1] - errors[0]
    counted = ~first.evaluation.object_ignored
    return {
        "fixed": int((counted & found[1] & ~found[0]).sum()),
        "broken": int((counted & found[0] & ~found[1]).sum()),
        "better": int((differences < 0).sum()),
        "equal": int((differences == 0).sum()),
        "worse": int((differences > 0).sum()),
        "differences": differences,
    }
