"""The six error types of TIDE, and how much AP50 would rise if each type was fixed.

Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
sections 2.2 and 2.3. The paper does not say which type a false positive has that fits several types. The
order here is that of the published toolbox: localization, classification, duplicate, background, both.
"""

import numpy as np

from mask_rcnn.report.curves import average_precision_of
from mask_rcnn.report.detection_matches import DetectionMatches

FOREGROUND_IOU = 0.5
BACKGROUND_IOU = 0.1
ERROR_TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
SPECIAL_ERROR_TYPES = ("false_positives", "false_negatives")  # all false positives or negatives, section 2.3
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND = range(5)
NO_ERROR = -1


def detection_errors(evaluation: DetectionMatches) -> tuple[np.ndarray, np.ndarray]:
    """Returns the error type of each detection at IoU 0.5.

    Args:
        evaluation: `DetectionMatches` of D detections.

    Returns:
        kinds: `[D]` int, index in `ERROR_TYPES`, or -1 for correct and for ignored detections.
        targets: `[D]` int, index of the object of a classification or localization error, otherwise -1.
    """
    kinds = np.full(len(evaluation.scores), NO_ERROR)
    targets = kinds.copy()
    is_wrong = evaluation.is_wrong[0]
    for rows, columns, overlaps in evaluation.per_image():
        is_chosen = is_wrong[rows]
        rows, overlaps = rows[is_chosen], overlaps[is_chosen]
        is_same = evaluation.classes[rows][:, None] == evaluation.object_classes[columns]
        is_counted = ~evaluation.object_ignored[columns]
        same_iou, same_column = _best(overlaps, is_same & is_counted)
        other_iou, other_column = _best(overlaps, ~is_same & is_counted)
        is_near = (same_iou >= BACKGROUND_IOU) & (same_iou < FOREGROUND_IOU)
        is_other = other_iou >= FOREGROUND_IOU
        kinds[rows] = np.select(
            [is_near, is_other, same_iou >= FOREGROUND_IOU, np.maximum(same_iou, other_iou) < BACKGROUND_IOU],
            [LOCALIZATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
            BOTH,
        )
        for chosen, column in ((is_near, same_column), (is_other & ~is_near, other_column)):
            targets[rows[chosen]] = columns[column[chosen]]
    return kinds, targets


def _best(overlaps, allowed):
    """Returns the largest IoU of each row among the allowed objects, and its column. It is 0 without any."""
    if not overlaps.shape[1]:
        return np.zeros(len(overlaps)), np.zeros(len(overlaps), int)
    masked = np.where(allowed, overlaps, 0)
    return masked.max(axis=1), masked.argmax(axis=1)


def missed_objects(evaluation: DetectionMatches, targets: np.ndarray) -> np.ndarray:
    """Returns which objects are missed, `[G]` bool: neither found, nor the target of a wrong detection."""
    is_target = np.zeros(len(evaluation.object_images), bool)
    is_target[targets[targets >= 0]] = True
    return ~evaluation.object_ignored & (evaluation.found_by < 0) & ~is_target


def decompose(evaluation: DetectionMatches, kinds: np.ndarray, targets: np.ndarray) -> dict:
    """Returns how much AP50 each error type costs.

    Each type is fixed separately. The costs do not add up to 1 - AP50, because errors hide each other. Fixes:

    - classification, localization: The detection becomes correct, if its target is not found yet and no
      better detection with an error of this type has the same target. Otherwise it is removed.
    - both, duplicate, background: The detection is removed.
    - missed: The objects are removed.

    Args:
        evaluation: `DetectionMatches`.
        kinds, targets: From `detection_errors`.

    Returns:
        Dict with
        ap50: AP50, or None without objects.
        errors: For each of `ERROR_TYPES` and `SPECIAL_ERROR_TYPES` a dict with `count` and `ap50_cost`.
    """
    counts = evaluation.object_counts
    has_objects = counts > 0
    base = _Flags(evaluation)
    missed = missed_objects(evaluation, targets)
    unfound = ~evaluation.object_ignored & (evaluation.found_by < 0)
    corrected = {
        **{
            name: (base.corrected(kinds == kind, targets), counts)
            for kind, name in enumerate(ERROR_TYPES[: BACKGROUND + 1])
        },
        "missed": (base, counts - _count(evaluation, missed)),
        "false_positives": (base.without(base.counted & ~base.hits), counts),
        "false_negatives": (base, counts - _count(evaluation, unfound)),
    }
    numbers = {name: int((kinds == kind).sum()) for kind, name in enumerate(ERROR_TYPES)}
    numbers |= {
        "missed": int(missed.sum()),
        "false_positives": int((kinds != NO_ERROR).sum()),
        "false_negatives": int(unfound.sum()),
    }
    ap50 = base.mean_ap(counts, has_objects)
    errors = {}
    for name, (flags, object_counts) in corrected.items():
        fixed_ap50 = flags.mean_ap(object_counts, has_objects)
        cost = None if ap50 is None or fixed_ap50 is None else fixed_ap50 - ap50
        errors[name] = {"count": numbers[name], "ap50_cost": cost}
    return {"ap50": ap50, "errors": errors}


def _count(evaluation, is_chosen):
    return np.bincount(evaluation.object_classes[is_chosen], minlength=evaluation.num_classes)


class _Flags:
    """Classes of detections, and flags: whether each detection is counted and is correct.

    Args:
        evaluation: `DetectionMatches`.
        classes: `[D]` int. Defaults to those of the evaluation.
        hits: `[D]` bool, correct detections at IoU 0.5. Defaults to those of the evaluation.
        counted: `[D]` bool, detections that are not ignored. Defaults to those of the evaluation.
    """

    def __init__(self, evaluation, *, classes=None, hits=None, counted=None):
        self.evaluation = evaluation
        self.classes = evaluation.classes if classes is None else classes
        self.hits = evaluation.is_hit[0] if hits is None else hits
        self.counted = ~evaluation.ignored[0] if counted is None else counted

    def without(self, rows):
        """Returns a copy without the detections `rows`, `[D]` bool."""
        return _Flags(self.evaluation, classes=self.classes, hits=self.hits, counted=self.counted & ~rows)

    def corrected(self, rows, targets):
        """Returns a copy in which the errors of detections `rows`, `[D]` bool, are fixed, see `decompose`."""
        evaluation = self.evaluation
        fixed = np.flatnonzero(rows & (targets >= 0))
        fixed = fixed[evaluation.found_by[targets[fixed]] < 0]
        fixed = fixed[np.argsort(-evaluation.scores[fixed], kind="stable")]
        fixed = fixed[np.unique(targets[fixed], return_index=True)[1]]  # the best detection per object
        classes, hits = self.classes.copy(), self.hits.copy()
        classes[fixed] = evaluation.object_classes[targets[fixed]]
        hits[fixed] = True
        return _Flags(evaluation, classes=classes, hits=hits, counted=self.counted & (~rows | hits))

    def mean_ap(self, counts, has_objects):
        """Returns the mean AP of the classes with objects, or None if there are none."""
        scores = self.evaluation.scores
        values = []
        for k in np.flatnonzero(has_objects):
            rows = np.flatnonzero(self.counted & (self.classes == k))
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            values.append(average_precision_of(self.hits[rows], counts[k]))
        return float(np.mean(values)) if values else None
