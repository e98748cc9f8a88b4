"""Average precision from hits, the score threshold with the best F1, and the calibration of scores.

Letters: T IoU thresholds, R recall points, K classes, D detections, S distinct scores.
"""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.evaluation.bootstrap import ClassMatches, class_precisions
from mask_rcnn.report.detection_matches import DetectionMatches

NUM_BINS = 10  # number of score bins


def average_precision_of(hits: np.ndarray, num_objects: int) -> float:
    """Returns the AP of the detections of one class.

    Args:
        hits: `[D]` bool, whether each detection is correct, the highest score first. Ignored detections are
            left out.
        num_objects: Number of objects. Without objects, AP is 1 if there are no detections, otherwise 0.
    """
    if not num_objects:
        return float(not len(hits))
    matches = ClassMatches(
        images=np.zeros(len(hits), int),
        is_true=hits[None],
        is_false=~hits[None],
        num_objects=np.array([num_objects]),
    )
    return float(class_precisions(matches, np.ones((1, 1), int))[0, 0])


def class_curves(evaluation: DetectionMatches) -> list[dict]:
    """Returns the `score_curve` of each class: precision, recall and F1 at each score.

    Args:
        evaluation: `DetectionMatches`.

    Returns:
        List of dicts, one per class.
    """
    is_counted = ~evaluation.ignored[0]
    return [
        score_curve(
            evaluation.scores[is_counted & (evaluation.classes == k)],
            evaluation.is_hit[0][is_counted & (evaluation.classes == k)],
            count,
        )
        for k, count in enumerate(evaluation.object_counts)
    ]


def total_curve(evaluation: DetectionMatches) -> dict:
    """Returns the `score_curve` of all classes together."""
    is_counted = ~evaluation.ignored[0]
    return score_curve(
        evaluation.scores[is_counted], evaluation.is_hit[0][is_counted], int(evaluation.object_counts.sum())
    )


def score_curve(scores: np.ndarray, hits: np.ndarray, num_objects: int) -> dict:
    """Returns precision, recall and F1 of the detections above each score threshold.

    Args:
        scores: `[D]`.
        hits: `[D]` bool, whether each detection is correct.
        num_objects: Number of objects.

    Returns:
        Dict with
        scores: `[S]`, each distinct score, the highest first.
        precision, recall, f1: `[S]`, of the detections with at least this score.
        best: Index of the largest F1, or None if no detection is correct.
    """
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    is_last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # equal scores share a threshold
    num_hits = np.cumsum(hits)[is_last]
    total = np.flatnonzero(is_last) + 1
    f1 = 2 * num_hits / (total + num_objects)
    return {
        "scores": scores[is_last],
        "precision": num_hits / total,
        "recall": num_hits / max(num_objects, 1),
        "f1": f1,
        "best": int(f1.argmax()) if num_hits.any() else None,
    }


def score_thresholds(curves: Sequence[dict], total: dict) -> np.ndarray:
    """Returns the score threshold of each class with the largest F1, `[K]`.

    A class without a correct detection gets the threshold of all classes together.

    Args:
        curves: List with the `score_curve` of each class.
        total: `score_curve` of all classes together.
    """
    fallback = _best_score(total, np.inf)
    return np.array([_best_score(curve, fallback) for curve in curves])


def _best_score(curve, fallback):
    return fallback if curve["best"] is None else float(curve["scores"][curve["best"]])


def calibration(scores: np.ndarray, hits: np.ndarray) -> dict:
    """Compares scores with the fraction of correct detections at IoU 0.5.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.

    Args:
        scores: `[D]`, from 0 to 1.
        hits: `[D]` bool, whether each detection is correct.

    Returns:
        Dict with
        bins: List of dicts with `low`, `high`, `count`, `mean_score` and `precision`. The last two are None
            without detections.
        error: Expected calibration error, the mean absolute difference of both, weighted by `count`.
            None without detections.
    """
    edges = np.linspace(0, 1, NUM_BINS + 1)
    bin_of = np.clip(np.floor(scores * NUM_BINS).astype(int), 0, NUM_BINS - 1)
    bins = []
    for number in range(NUM_BINS):
        is_inside = bin_of == number
        bins.append(
            {
                "low": round(float(edges[number]), 6),
                "high": round(float(edges[number + 1]), 6),
                "count": int(is_inside.sum()),
                "mean_score": float(scores[is_inside].mean()) if is_inside.any() else None,
                "precision": float(hits[is_inside].mean()) if is_inside.any() else None,
            }
        )
    gaps = [each["count"] * abs(each["mean_score"] - each["precision"]) for each in bins if each["count"]]
    return {"bins": bins, "error": sum(gaps) / len(scores) if len(scores) else None}
