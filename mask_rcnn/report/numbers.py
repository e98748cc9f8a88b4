"""Collects the numbers of a report in plain dicts for JSON."""

from collections.abc import Mapping

import numpy as np

from mask_rcnn.evaluation.average_precision import mean_of_measured
from mask_rcnn.evaluation.bootstrap import RECALLS
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.report.analysis import TITLES, Analysis, RunDetections, Track, progress
from mask_rcnn.report.compare import compare_by_resampling, compare_images
from mask_rcnn.report.curves import calibration
from mask_rcnn.report.errors import (
    BACKGROUND_IOU,
    ERROR_TYPES,
    FOREGROUND_IOU,
    NO_ERROR,
    decompose,
    missed_objects,
)
from mask_rcnn.report.operating_point import confusion_matrix
from mask_rcnn.report.slices import slice_rows

BACKGROUND = "background"
DECIMALS = 4  # decimals of precision values
MAX_POINTS = 200  # maximum points of a curve over scores


def report_numbers(
    detected: RunDetections, analyses: Mapping[str, Analysis], metrics: Metrics | None
) -> dict:
    """Returns all numbers of a run.

    Args:
        detected: `RunDetections`.
        analyses: From `analyze_run`.
        metrics: `Metrics`, or None.

    Returns:
        Dict for JSON:
        detections: Name of the results.
        annotations: Name of the annotations.
        num_images: Number of images.
        federated: Whether the rules of LVIS are used.
        classes: List of class names.
        metrics: `metrics` as json content, or None.
        evaluations: Dict of the numbers by IoU type.
    """
    return {
        "detections": detected.name,
        "annotations": detected.content.name,
        "num_images": len(detected.image_ids),
        "federated": detected.content.federation is not None,
        "classes": detected.class_names,
        "metrics": metrics and metrics.to_json(),
        "evaluations": {kind: _numbers(detected, analysis) for kind, analysis in analyses.items()},
    }


def _numbers(detected, analysis):
    evaluation = analysis.evaluation
    counted = ~evaluation.ignored[0]
    matrix = confusion_matrix(evaluation, analysis.point)
    return {
        "summary": evaluation.summary,
        "classes": _classes(detected, analysis),
        "errors": {
            **decompose(evaluation, analysis.kinds, analysis.targets),
            "foreground_iou": FOREGROUND_IOU,
            "background_iou": BACKGROUND_IOU,
        },
        "precision_recall": {
            "iou_thresholds": [round(float(each), 2) for each in evaluation.thresholds],
            "recall": [round(float(each), 2) for each in RECALLS],
            "precision": {
                name: _measured(evaluation.precision[:, :, k, 0])
                for k, name in enumerate(detected.class_names)
            },
        },
        "confusion": {"labels": [*detected.class_names, BACKGROUND], "matrix": matrix.tolist()},
        "scores": _thinned(analysis.total),
        "calibration": calibration(evaluation.scores[counted], evaluation.is_hit[0][counted]),
        "slices": slice_rows(
            evaluation,
            analysis.point,
            detected.content,
            entries=detected.entries,
            image_ids=detected.image_ids,
        ),
        "images": _images(detected, analysis.images),
    }


def _classes(detected, analysis):
    """Returns a list with a dict of numbers for each class."""
    evaluation = analysis.evaluation
    counts = evaluation.object_counts
    missed = missed_objects(evaluation, analysis.targets)
    rows = []
    for k, (name, curve) in enumerate(zip(detected.class_names, analysis.curves, strict=True)):
        best = curve["best"]
        errors = np.bincount(
            analysis.kinds[(evaluation.classes == k) & (analysis.kinds != NO_ERROR)],
            minlength=len(ERROR_TYPES),
        )
        errors[-1] = (missed & (evaluation.object_classes == k)).sum()
        at_best = {
            key: None if best is None else float(curve[key][best]) for key in ("precision", "recall", "f1")
        }
        rows.append(
            {
                "name": name,
                "objects": int(counts[k]),
                "ap": evaluation.class_ap[k],
                "ap50": mean_of_measured(evaluation.precision[0, :, k, 0]),
                "score_threshold": None if best is None else float(curve["scores"][best]),
                **at_best,
                "errors": dict(zip(ERROR_TYPES, errors.tolist(), strict=True)),
            }
        )
    return rows


def _measured(precision):
    """Returns `[T, R]` as rounded lists, to limit the size of the file. Returns None without objects."""
    return None if (precision < 0).any() else precision.round(DECIMALS).tolist()


def _thinned(curve):
    """Returns a `score_curve` as lists of at most `MAX_POINTS` points, and its best point."""
    best, num = curve["best"], len(curve["scores"])
    points = np.unique(np.linspace(0, num - 1, min(num, MAX_POINTS)).round().astype(int))
    lists = {key: curve[key][points].tolist() for key in ("scores", "precision", "recall", "f1")}
    keys = ("scores", "precision", "recall", "f1")
    return {**lists, "best": best if best is None else {key: float(curve[key][best]) for key in keys}}


def _images(detected, errors):
    """Returns a list with a dict for each image, sorted by decreasing number of errors."""
    names = detected.file_names
    rows = [
        {
            "id": id,
            "file_name": names[id],
            **{key: int(errors[key][i]) for key in ("objects", "found", "missed", "wrong")},
            "f1": float(errors["f1"][i]),
        }
        for i, id in enumerate(detected.image_ids)
    ]
    return sorted(rows, key=lambda row: (-row["missed"] - row["wrong"], row["f1"]))


def comparison_numbers(
    detected: RunDetections,
    first: Mapping[str, Analysis],
    second: Mapping[str, Analysis],
    *,
    name: str,
    track: Track | None = None,
) -> dict:
    """Returns the differences between two runs.

    Args:
        detected: `RunDetections` of the first run.
        first, second: {IoU type: `Analysis`} of the two runs.
        name: Name of the second run.
        track: As in `analyze_run`. Defaults to None.

    Returns:
        Dict with
        detections: Name of the second run.
        evaluations: Dict by IoU type that both runs have. Each value has `bootstrap` (from
            `compare_by_resampling`), the counts of `compare_images`, and `images`, a list of dicts sorted by
            decreasing change.
    """
    names = detected.file_names
    evaluations = {}
    for kind in (kind for kind in first if kind in second):
        bootstrap = compare_by_resampling(
            first[kind].evaluation,
            second[kind].evaluation,
            track=progress(track, 2 * first[kind].evaluation.num_classes, f"comparing {TITLES[kind]}"),
        )
        compared = compare_images(first[kind], second[kind])
        differences = compared.pop("differences")
        order = np.argsort(-abs(differences), kind="stable")
        images = [
            {
                "id": detected.image_ids[i],
                "file_name": names[detected.image_ids[i]],
                "first_errors": _errors(first[kind], i),
                "second_errors": _errors(second[kind], i),
            }
            for i in order.tolist()
        ]
        evaluations[kind] = {"bootstrap": bootstrap, **compared, "images": images}
    return {"detections": name, "evaluations": evaluations}


def _errors(analysis, image):
    return int(analysis.images["missed"][image] + analysis.images["wrong"][image])
