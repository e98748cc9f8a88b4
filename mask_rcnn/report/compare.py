"""Two runs on the same images: the difference of their AP with its confidence interval, and image by image.

The interval is that of a paired bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13): images are drawn with replacement, both runs are scored on the same draw, and the middle 95 % of
the differences are the interval. Detections of an image that was drawn twice count twice.
"""

import numpy as np

from mask_rcnn.report.curves import weighted_average_precision

NUM_DRAWS = 1000
CONFIDENCE = 0.95
SEED = 0  # the same files give the same interval
MAX_NUMBERS = 1 << 21  # in an array


def bootstrap(first, second, num_draws=NUM_DRAWS, track=iter):
    """Compares the AP of two evaluations of the same images.

    Args:
        first, second: `Evaluation`, of the same objects.
        num_draws: How many draws of images.
        track: What (run, class) pairs are iterated through, to show progress.

    Returns:
        `AP`, `AP50` and `classes` (a list of AP), each a dict, all None without objects, with

        - `first`, `second`, and `difference`: second minus first;
        - `low`, `high`: of the 95 % interval of the difference;
        - `share_better`: share of the draws in which the second run is better, with half of the ties;

        and `num_draws`.
    """
    num_images = first.num_images
    drawn = np.random.default_rng(SEED).multinomial(
        num_images, np.full(num_images, 1 / num_images), num_draws
    )
    drawn = np.concatenate([np.ones((1, num_images), int), drawn])  # the first row is the data set itself
    runs = (first, second)
    ap = np.full((1 + num_draws, len(runs), 2, first.num_classes), np.nan)
    for run, k in track([(run, k) for run in range(len(runs)) for k in range(first.num_classes)]):
        ap[:, run, :, k] = _class_ap(runs[run], k, drawn)
    base, draws = ap[0], ap[1:]  # [2, 2, K]: run, AP and AP50, class
    return {
        "AP": _interval(_mean(base[:, 0]), _mean(draws[:, :, 0])),
        "AP50": _interval(_mean(base[:, 1]), _mean(draws[:, :, 1])),
        "classes": [_interval(base[:, 0, k], draws[:, :, 0, k]) for k in range(first.num_classes)],
        "num_draws": num_draws,
    }


def _mean(values):
    """Returns the mean over the last axis of what is not NaN; NaN if nothing is left."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)


def _interval(base, draws):
    """Returns the dict of `bootstrap` from `[2]` AP and the `[N, 2]` AP of the draws."""
    if np.isnan(base).any():
        return dict.fromkeys(("first", "second", "difference", "low", "high", "share_better"))
    differences = draws[:, 1] - draws[:, 0]
    differences = differences[~np.isnan(differences)]  # draws without an object
    margin = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, (margin, 1 - margin))
    better = (differences > 0).mean() + (differences == 0).mean() / 2
    return {
        "first": float(base[0]),
        "second": float(base[1]),
        "difference": float(base[1] - base[0]),
        "low": float(low),
        "high": float(high),
        "share_better": float(better),
    }


def _class_ap(evaluation, k, drawn):
    """Returns AP and AP50 of a class in each draw, `[N, 2]`, NaN without objects.

    Args:
        evaluation: `Evaluation`.
        k: Index of the class.
        drawn: `[N, I]` int, how often each image was drawn.
    """
    is_object = ~evaluation.object_ignored & (evaluation.object_classes == k)
    per_image = np.bincount(evaluation.object_images[is_object], minlength=evaluation.num_images)
    counts = drawn @ per_image  # [N]
    rows = np.flatnonzero(evaluation.classes == k)
    rows = rows[np.argsort(-evaluation.scores[rows], kind="stable")]
    hits, counted = evaluation.is_hit[:, rows], ~evaluation.ignored[:, rows]
    result = np.full((len(drawn), 2), np.nan)
    known = np.flatnonzero(counts)
    step = max(MAX_NUMBERS // max(hits.size, 1), 1)
    for start in range(0, len(known), step):
        part = known[start : start + step]
        weights = drawn[part][:, evaluation.images[rows]]
        ap = weighted_average_precision(hits, counted, weights, counts[part])  # [n, T]
        result[part] = np.stack([ap.mean(axis=1), ap[:, 0]], axis=1)
    return result


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
