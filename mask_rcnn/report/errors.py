"""The six kinds of errors of TIDE, and the AP50 that correcting each kind would give back.

Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
sections 2.2 and 2.3. The paper leaves open what a false positive is that fits several kinds; the order here
is that of the published toolbox: localization, classification, duplicate, background, both.
"""

import numpy as np

from mask_rcnn.report.curves import average_precision_of

FOREGROUND_IOU = 0.5
BACKGROUND_IOU = 0.1
KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
SPECIAL_KINDS = ("false_positives", "false_negatives")  # all of a side, section 2.3
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND = range(5)
NO_ERROR = -1


def detection_errors(evaluation):
    """Finds which error each detection is, at IoU 0.5.

    Args:
        evaluation: `Evaluation` of D detections.

    Returns:
        kinds: `[D]` int, index in `KINDS`, or -1 for detections that are right or do not count.
        targets: `[D]` int, index of the object that a classification or localization error means, or -1.
    """
    kinds = np.full(len(evaluation.scores), NO_ERROR)
    targets = kinds.copy()
    wrong = evaluation.is_wrong[0]
    for rows, columns, overlaps in evaluation.per_image():
        which = wrong[rows]
        rows, overlaps = rows[which], overlaps[which]
        is_same = evaluation.classes[rows][:, None] == evaluation.object_classes[columns]
        counted = ~evaluation.object_ignored[columns]
        same, same_column = _best(overlaps, is_same & counted)
        other, other_column = _best(overlaps, ~is_same & counted)
        is_near = (same >= BACKGROUND_IOU) & (same < FOREGROUND_IOU)
        is_other = other >= FOREGROUND_IOU
        kinds[rows] = np.select(
            [is_near, is_other, same >= FOREGROUND_IOU, np.maximum(same, other) < BACKGROUND_IOU],
            [LOCALIZATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
            BOTH,
        )
        for chosen, column in ((is_near, same_column), (is_other & ~is_near, other_column)):
            targets[rows[chosen]] = columns[column[chosen]]
    return kinds, targets


def _best(overlaps, allowed):
    """Returns the largest IoU of each row among what is allowed, 0 without any, and its column."""
    if not overlaps.shape[1]:
        return np.zeros(len(overlaps)), np.zeros(len(overlaps), int)
    masked = np.where(allowed, overlaps, 0)
    return masked.max(axis=1), masked.argmax(axis=1)


def missed_objects(evaluation, targets):
    """Returns which objects are missed, `[G]` bool: not found, and not meant by a detection that is wrong."""
    is_meant = np.zeros(len(evaluation.object_images), bool)
    is_meant[targets[targets >= 0]] = True
    return ~evaluation.object_ignored & (evaluation.found_by < 0) & ~is_meant


def decompose(evaluation, kinds, targets):
    """Returns the AP50 that each kind of error costs.

    Each kind is corrected alone. Costs do not add up to 1 - AP50, for errors hide each other.

    - classification, localization: the detection becomes right, if its object is not found already and no
      better detection of the same kind means it; otherwise it is left out;
    - both, duplicate, background: the detection is left out;
    - missed: the objects are left out.

    Args:
        evaluation: `Evaluation`.
        kinds, targets: Of `detection_errors`.

    Returns:
        `ap50`, None without objects; and `errors`, for each of `KINDS` and `SPECIAL_KINDS` its `count` and
        `ap50_cost`.
    """
    counts = evaluation.object_counts
    has_objects = counts > 0
    base = _Flags(evaluation)
    missed = missed_objects(evaluation, targets)
    unfound = ~evaluation.object_ignored & (evaluation.found_by < 0)
    corrected = {
        **{
            name: (base.corrected(kinds == kind, targets), counts)
            for kind, name in enumerate(KINDS[: BACKGROUND + 1])
        },
        "missed": (base, counts - _count(evaluation, missed)),
        "false_positives": (base.without(base.counted & ~base.hits), counts),
        "false_negatives": (base, counts - _count(evaluation, unfound)),
    }
    numbers = {name: int((kinds == kind).sum()) for kind, name in enumerate(KINDS)}
    numbers |= {
        "missed": int(missed.sum()),
        "false_positives": int((kinds != NO_ERROR).sum()),
        "false_negatives": int(unfound.sum()),
    }
    ap50 = base.mean_ap(counts, has_objects)
    errors = {}
    for name, (flags, left) in corrected.items():
        cost = None if ap50 is None else flags.mean_ap(left, has_objects) - ap50
        errors[name] = {"count": numbers[name], "ap50_cost": cost}
    return {"ap50": ap50, "errors": errors}


def _count(evaluation, which):
    return np.bincount(evaluation.object_classes[which], minlength=evaluation.num_classes)


class _Flags:
    """Detections with their class, whether they count, and whether they are right.

    Args:
        evaluation: `Evaluation`.
        classes: `[D]`. Defaults to those of the evaluation; so do the next two.
        hits: `[D]` bool.
        counted: `[D]` bool.
    """

    def __init__(self, evaluation, classes=None, hits=None, counted=None):
        self.evaluation = evaluation
        self.classes = evaluation.classes if classes is None else classes
        self.hits = evaluation.is_hit[0] if hits is None else hits
        self.counted = ~evaluation.ignored[0] if counted is None else counted

    def without(self, rows):
        """Returns a copy without some detections, `[D]` bool."""
        return _Flags(self.evaluation, self.classes, self.hits, self.counted & ~rows)

    def corrected(self, rows, targets):
        """Returns a copy in which some detections, `[D]` bool, are right; see `decompose`."""
        evaluation = self.evaluation
        meaning = np.flatnonzero(rows & (targets >= 0))
        meaning = meaning[evaluation.found_by[targets[meaning]] < 0]
        meaning = meaning[np.argsort(-evaluation.scores[meaning], kind="stable")]
        meaning = meaning[np.unique(targets[meaning], return_index=True)[1]]  # the best of each object
        classes, hits = self.classes.copy(), self.hits.copy()
        classes[meaning] = evaluation.object_classes[targets[meaning]]
        hits[meaning] = True
        return _Flags(evaluation, classes, hits, self.counted & (~rows | hits))

    def mean_ap(self, counts, has_objects):
        """Returns the mean AP of the classes that had objects; None if none had."""
        scores = self.evaluation.scores
        values = []
        for k in np.flatnonzero(has_objects):
            rows = np.flatnonzero(self.counted & (self.classes == k))
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            values.append(average_precision_of(self.hits[rows], counts[k]))
        return float(np.mean(values)) if values else None
