"""Results by size of the objects, by overlap with other objects, and by truncation at the image edge."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.readers.results import box_of
from mask_rcnn.evaluation.average_precision import mean_of_measured
from mask_rcnn.report.curves import average_precision_of
from mask_rcnn.report.detection_matches import DetectionMatches
from mask_rcnn.report.errors import BACKGROUND_IOU
from mask_rcnn.report.operating_point import OperatingPoint

EDGE = 1.0  # a box touches the edge of the image if it is closer than this, in pixels
CROWDED_IOU = 0.2  # minimum IoU of the boxes of two objects that are crowded
SIZES = ("small", "medium", "large")
SIZE_LIMITS = (32**2, 96**2)  # COCO's limits of the area, in square pixels
CROWDING = ("alone", "overlapping", "crowded")
TRUNCATION = ("inside", "at the edge")


def slice_rows(
    evaluation: DetectionMatches,
    point: OperatingPoint,
    content: CocoContent,
    *,
    entries: Sequence[dict],
    image_ids: Sequence[int | str],
) -> list[dict]:
    """Returns the results for each slice of the objects.

    Overlap is measured with boxes, because masks never overlap in some data sets. A false positive belongs to
    the slice of the object that it overlaps most. If it overlaps no object, it counts as alone, and its own
    box decides whether it touches the edge. AP by size is COCO's.

    Args:
        evaluation: `DetectionMatches`.
        point: Its `OperatingPoint`.
        content, entries, image_ids: As in `match_detections`.

    Returns:
        List of dicts with the keys below. All but the first three are None without objects.
        group: "size", "overlap" or "truncation".
        slice: Name of the slice.
        objects: Number of objects.
        recall: Fraction of objects that are found at IoU 0.5, with any score.
        recall_at_threshold: The same with at least the score threshold.
        mean_iou: Mean IoU of the objects that are found at IoU 0.5.
        ap50: AP50.
    """
    table = content.annotations.table
    annotations = evaluation.annotations
    boxes = table.boxes[annotations]  # xywh
    sizes = content.sizes
    sizes = np.array([sizes[id] for id in image_ids], float).reshape(-1, 2)
    at_edge = _touches_edge(boxes, sizes[evaluation.object_images]).astype(int)
    crowding = _crowding(boxes, evaluation)
    nearest = _nearest_objects(evaluation)
    detected = np.array([box_of(entries[i]) for i in evaluation.entries], float).reshape(-1, 4)
    detection_at_edge = _touches_edge(detected, sizes[evaluation.images]).astype(int)
    is_near = nearest >= 0
    of_objects = {"overlap": crowding, "truncation": at_edge}
    of_detections = {
        "overlap": np.where(is_near, _taken(crowding, nearest), 0),
        "truncation": np.where(is_near, _taken(at_edge, nearest), detection_at_edge),
    }
    size = np.searchsorted(SIZE_LIMITS, table.areas[annotations], side="right")
    rows = [
        _row(
            evaluation,
            point,
            inside=size == number,
            ap50=_size_ap50(evaluation, name),
            group="size",
            name=name,
        )
        for number, name in enumerate(SIZES)
    ]
    for group, names in (("overlap", CROWDING), ("truncation", TRUNCATION)):
        for number, name in enumerate(names):
            inside = of_objects[group] == number
            ap50 = _ap50(evaluation, inside, of_detections[group] == number)
            rows.append(_row(evaluation, point, inside=inside, ap50=ap50, group=group, name=name))
    return rows


def _row(evaluation, point, *, inside, ap50, group, name):
    inside = inside & ~evaluation.object_ignored
    found_by = evaluation.found_by[inside]
    count, num_found = int(inside.sum()), int((found_by >= 0).sum())
    ious = _hit_ious(evaluation)[found_by[found_by >= 0]]
    return {
        "group": group,
        "slice": name,
        "objects": count,
        "recall": num_found / count if count else None,
        "recall_at_threshold": int(point.found[inside].sum()) / count if count else None,
        "mean_iou": float(ious.mean()) if num_found else None,
        "ap50": ap50 if count else None,
    }


def _ap50(evaluation, inside, is_in_slice):
    """Returns the mean AP50 of the classes that have objects in a slice, or None if there are none.

    Args:
        evaluation: `DetectionMatches`.
        inside: `[G]` bool, the objects of the slice.
        is_in_slice: `[D]` bool, the detections that belong to the slice if they are wrong.
    """
    inside = inside & ~evaluation.object_ignored
    hits = evaluation.is_hit[0] & _taken(inside, evaluation.matches[0])
    counted = hits | (evaluation.is_wrong[0] & is_in_slice)
    counts = np.bincount(evaluation.object_classes[inside], minlength=evaluation.num_classes)
    values = []
    for k in np.flatnonzero(counts):
        rows = np.flatnonzero(counted & (evaluation.classes == k))
        rows = rows[np.argsort(-evaluation.scores[rows], kind="stable")]
        values.append(average_precision_of(hits[rows], counts[k]))
    return float(np.mean(values)) if values else None


def _size_ap50(evaluation, name):
    """Returns COCO's AP50 of a size, or None without objects or if COCO has no such size."""
    sizes = SIZES[-(evaluation.precision.shape[-1] - 1) :]  # the first range has all sizes
    if name not in sizes:
        return None
    return mean_of_measured(evaluation.precision[0, ..., 1 + sizes.index(name)])


def _taken(values, rows):
    """Returns `values[rows]`, with 0 for rows of -1."""
    return np.append(values, np.zeros(1, values.dtype))[rows]


def _touches_edge(boxes, sizes):
    """Returns which boxes `[N, 4]` xywh touch the edge of their images of sizes `[N, 2]`, `[N]` bool."""
    far = sizes[:, ::-1] - boxes[:, :2] - boxes[:, 2:]
    return (np.minimum(boxes[:, :2], far) < EDGE).any(axis=1)


def _crowding(boxes, evaluation):
    """Returns the index in `CROWDING` of each object, `[G]`."""
    largest = np.zeros(len(boxes))
    for _, rows, _ in evaluation.per_image():
        if len(rows) > 1:
            ious = np.asarray(coco_mask.iou(boxes[rows], boxes[rows], [0] * len(rows)))
            np.fill_diagonal(ious, 0)
            largest[rows] = ious.max(axis=1)
    return (largest > 0).astype(int) + (largest > CROWDED_IOU)


def _nearest_objects(evaluation):
    """Returns the object that each detection overlaps most, or -1 if it overlaps none, `[D]`."""
    nearest = np.full(len(evaluation.scores), -1)
    for rows, columns, overlaps in evaluation.per_image():
        if overlaps.size:
            near = overlaps.max(axis=1) >= BACKGROUND_IOU
            nearest[rows[near]] = columns[overlaps.argmax(axis=1)[near]]
    return nearest


def _hit_ious(evaluation):
    """Returns the IoU of each detection with its matched object, 0 without a match, `[D]`."""
    ious = np.zeros(len(evaluation.scores))
    for rows, columns, overlaps in evaluation.per_image():
        is_hit = evaluation.is_hit[0, rows]
        if is_hit.any():
            objects = evaluation.matches[0, rows[is_hit]] - columns[0]
            ious[rows[is_hit]] = overlaps[np.flatnonzero(is_hit), objects]
    return ious
