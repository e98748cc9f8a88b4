"""COCO's average precision, computed by pycocotools or hotcoco.

pycocotools is the reference. `coco_matching` replaces the loop that takes nearly all of its time. The results
of hotcoco are bitwise equal. Each number is the mean over a part of an array of precision or recall.

Letters: T IoU thresholds, R recall points, K classes, S size ranges, M limits of detections per image.
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mask_rcnn.data.readers.annotations import clipped
from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.readers.federated_results import federated_entries
from mask_rcnn.data.readers.federation import FREQUENCIES, NEGATIVE
from mask_rcnn.data.readers.results import box_of
from mask_rcnn.evaluation.coco_matching import VectorizedCOCOeval

BACKENDS = ("pycocotools", "hotcoco")
Backend = Literal["pycocotools", "hotcoco"]
Evaluator = TypeVar("Evaluator")  # a COCOeval of pycocotools or hotcoco

# Numbers that COCO reports: name, array, IoU threshold (None: mean over all), size range, index of the limit.
OBJECT_NUMBERS = (
    ("AP", "precision", None, "all", -1),
    ("AP50", "precision", 0.5, "all", -1),
    ("AP75", "precision", 0.75, "all", -1),
    ("AP_small", "precision", None, "small", -1),
    ("AP_medium", "precision", None, "medium", -1),
    ("AP_large", "precision", None, "large", -1),
    ("AR_1", "recall", None, "all", 0),
    ("AR_10", "recall", None, "all", 1),
    ("AR", "recall", None, "all", -1),
    ("AR_small", "recall", None, "small", -1),
    ("AR_medium", "recall", None, "medium", -1),
    ("AR_large", "recall", None, "large", -1),
)
KEYPOINT_NUMBERS = (
    *(row for row in OBJECT_NUMBERS[:6] if row[3] != "small"),
    ("AR", "recall", None, "all", -1),
    ("AR50", "recall", 0.5, "all", -1),
    ("AR75", "recall", 0.75, "all", -1),
    ("AR_medium", "recall", None, "medium", -1),
    ("AR_large", "recall", None, "large", -1),
)
# Numbers that LVIS reports: AP by object size, and AP over the classes of each frequency.
FEDERATED_NUMBERS = (
    *OBJECT_NUMBERS[:6],
    *((f"AP_{name}", "precision", None, letter, -1) for letter, name in FREQUENCIES.items()),
    OBJECT_NUMBERS[8],  # AR
)
NUMBERS = {"bbox": OBJECT_NUMBERS, "segm": OBJECT_NUMBERS, "keypoints": KEYPOINT_NUMBERS}
MAX_KEYPOINT_DETECTIONS = 20  # COCO's limit per class and image
NUM_COCO_KEYPOINTS = 17  # of a person; only for these, COCO has measured the sigmas of human annotators
OTHER_KEYPOINT_SIGMA = 0.07  # for all other keypoints: the mean of COCO's sigmas


def average_precision(
    content: CocoContent,
    entries: Sequence[dict],
    image_ids: Iterable[int | str],
    *,
    iou_type: str,
    backend: Backend,
    max_detections: int,
) -> tuple[dict[str, float | None], list[float | None]]:
    """Computes AP and AR of detections for one IoU type.

    Args:
        content: `CocoContent` of the annotations.
        entries: Checked entries of a results file.
        image_ids: Ids of the images to evaluate.
        iou_type: "bbox", "segm" or "keypoints".
        backend: "pycocotools" or "hotcoco".
        max_detections: Maximum number of detections per class and image, the best first. If the annotations
            have a `Federation`, the maximum over all classes of an image.

    Returns:
        Tuple of
        summary: Dict of COCO's (or LVIS's) numbers by name, in 0..1.
        class_ap: List of the AP of each category, in the order of their ids.
        A number is None if it cannot be measured, because there are no objects.
    """
    evaluator = coco_evaluator(
        content,
        entries,
        image_ids,
        iou_type=iou_type,
        max_detections=max_detections,
        evaluator_of=_EVALUATORS[backend],
    )
    with contextlib.redirect_stdout(io.StringIO()):  # hides the progress output of pycocotools
        evaluator.evaluate()
        evaluator.accumulate()
    arrays = {name: np.asarray(evaluator.eval[name]) for name in ("precision", "recall")}
    return summary_of(arrays, iou_type, content.frequencies), class_average_precision(arrays["precision"])


def summary_of(
    arrays: Mapping[str, np.ndarray], iou_type: str, frequencies: np.ndarray | None = None
) -> dict[str, float | None]:
    """Returns COCO's (or LVIS's) numbers by name. A number is None if there are no objects to measure it.

    Args:
        arrays: `{"precision": [T, R, K, S, M], "recall": [T, K, S, M]}` of COCOeval.
        iou_type: "bbox", "segm" or "keypoints".
        frequencies: `[K]`, `CocoContent.frequencies`, for LVIS's numbers. Defaults to None: COCO's numbers.
    """
    if frequencies is None:
        return {name: _mean(arrays, iou_type, selection) for name, *selection in NUMBERS[iou_type]}
    summary = {}
    for name, array, threshold, group, limit in FEDERATED_NUMBERS:
        if group in FREQUENCIES:
            class_arrays = {array: arrays[array][:, :, frequencies == group]}
            summary[name] = _mean(class_arrays, iou_type, (array, threshold, "all", limit))
        else:
            summary[name] = _mean(arrays, iou_type, (array, threshold, group, limit))
    return summary


def class_average_precision(precision: np.ndarray) -> list[float | None]:
    """Returns a list of the AP of each category, in the order of their ids. None for those without objects.

    Args:
        precision: `[T, R, K, S, M]` of COCOeval.
    """
    return [mean_of_measured(each) for each in np.moveaxis(precision[..., 0, -1], 2, 0)]


def _mean(arrays, iou_type, selection):
    """Returns one of COCO's numbers. `selection` is a row of `NUMBERS` without the name of the number."""
    name, threshold, size, limit = selection
    sizes = ("all", "medium", "large") if iou_type == "keypoints" else ("all", "small", "medium", "large")
    part = arrays[name][..., sizes.index(size), limit]
    if threshold is not None:
        part = part[round((threshold - 0.5) / 0.05)]  # thresholds are 0.50, 0.55, .. 0.95
    return mean_of_measured(part)


def mean_of_measured(values: np.ndarray) -> float | None:
    """Returns the mean of the measured values, or None. pycocotools marks values without objects with -1."""
    measured = values[values > -1]
    return float(np.mean(measured)) if measured.size else None


def _numbering(content):
    """Returns {image id: 1..N} in the order of the ids. COCO breaks ties of equal scores by this order."""
    return {
        id: number
        for number, id in enumerate(sorted_image_ids(image["id"] for image in content.images), start=1)
    }


def sorted_image_ids(image_ids: Iterable[int | str]) -> list[int | str]:
    """Returns the list of image ids in COCO's order: numbers before strings, each sorted."""
    return sorted(image_ids, key=lambda id: (isinstance(id, str), id))


def coco_evaluator(
    content: CocoContent,
    entries: Sequence[dict],
    image_ids: Iterable[int | str],
    *,
    iou_type: str,
    max_detections: int,
    evaluator_of: Callable[[dict, dict, str], Evaluator],
) -> Evaluator:
    """Returns a COCOeval that is ready to evaluate.

    It gets copies, because pycocotools modifies its input. Images are numbered 1..N in the order of their
    ids, annotations and entries in their own order.

    Args:
        content, entries, image_ids, iou_type, max_detections: See `average_precision`.
        evaluator_of: Function that returns a COCOeval. Its arguments are the ground truth and the detections
            (each as the content of a COCO json), and the IoU type.
    """
    numbers, num_keypoints = _numbering(content), _num_keypoints(content)
    ground_truth = {
        "images": [
            {"id": numbers[image["id"]], "height": image["height"], "width": image["width"], **fields}
            for image, fields in zip(content.images, _federated_fields(content), strict=True)
        ],
        "categories": [{"id": category.id, "name": category.name} for category in content.categories],
    }
    sizes = content.sizes
    objects = [
        _with_geometry(each, iou_type, num_keypoints=num_keypoints, size=sizes[each["image_id"]])
        for each in content.annotations
    ]
    detections = [_as_annotation(entry, iou_type) for entry in entries]
    contents = [
        {
            **ground_truth,
            "annotations": [_numbered(each, number, numbers) for number, each in enumerate(part, start=1)],
        }
        for part in (objects, detections)
    ]
    limits = [1, min(10, max_detections), max_detections]
    if content.federation is not None:
        contents[1]["annotations"] = _federated(
            contents[1]["annotations"], entries, content, max_detections=max_detections
        )
    evaluator: Any = _with_sigmas(evaluator_of(contents[0], contents[1], iou_type), num_keypoints)
    has_one_limit = iou_type == "keypoints" or content.federation is not None
    evaluator.params.maxDets = [max_detections] if has_one_limit else limits
    evaluator.params.imgIds = sorted(numbers[id] for id in image_ids)
    return evaluator


def _federated_fields(content):
    """Returns the LVIS fields of each image, a list of dicts. They are empty for other data sets."""
    if content.federation is None:
        return [{} for _ in content.images]
    return content.federation.fields_of_images(len(content.images))


def _federated(detections, entries, content, *, max_detections):
    """Returns the detections that count under LVIS's rules, in the format of `VectorizedCOCOeval`."""
    federated = federated_entries(entries, content, max_detections)
    flags = zip(detections, federated.is_counted.tolist(), federated.is_ignored.tolist(), strict=True)
    return [{**each, "is_always_ignored": is_ignored} for each, is_counted, is_ignored in flags if is_counted]


def _hotcoco_evaluator(ground_truth, detections, iou_type):
    try:
        import hotcoco
    except ImportError as error:
        raise ValueError(
            "The backend hotcoco must be installed. Received: backend='hotcoco', which cannot be imported. "
            "Run `pip install mask-rcnn[fast-eval]`, or use backend='pycocotools'."
        ) from error
    is_federated = NEGATIVE in ground_truth["images"][0]
    return hotcoco.COCOeval(
        hotcoco.COCO(ground_truth), hotcoco.COCO(detections), iou_type, lvis_style=is_federated
    )


def _pycocotools_evaluator(ground_truth, detections, iou_type):
    return VectorizedCOCOeval(coco_index(ground_truth), coco_index(detections), iou_type)


_EVALUATORS = {"pycocotools": _pycocotools_evaluator, "hotcoco": _hotcoco_evaluator}


def _numbered(annotation, number, image_numbers):
    """Returns a copy without nulls and with ids from 1: pycocotools treats a match with id 0 as none."""
    known = {name: value for name, value in annotation.items() if value is not None}
    return {**known, "id": number, "image_id": image_numbers[annotation["image_id"]]}


def _num_keypoints(content):
    return int(content.annotations.table.num_keypoints.max(initial=0))


def _with_geometry(annotation, iou_type, *, num_keypoints, size):
    """Returns an annotation with the geometry that `iou_type` compares.

    For "segm", an object without a mask becomes a crowd region: it is neither missed nor a wrong detection.
    COCO itself ignores objects without keypoints.
    """
    if iou_type == "segm" and annotation["segmentation"] is None:
        y1, x1, y2, x2 = clipped(annotation["bbox"], size)
        return {**annotation, "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], "iscrowd": 1}
    if iou_type == "keypoints":
        points = annotation["keypoints"] or []
        return {**annotation, "keypoints": points + [0] * (3 * num_keypoints - len(points))}
    return annotation


def _as_annotation(entry, iou_type):
    """Returns an entry of a results file as an annotation, with the area that COCO's size ranges use."""
    if iou_type == "segm":  # the size of an object is the area of its mask, not of its box
        area = float(coco_mask.area(entry["segmentation"]))
    else:
        entry = {**entry, "bbox": box_of(entry)}
        area = entry["bbox"][2] * entry["bbox"][3]
    return {**entry, "iscrowd": 0, "area": area}


def _with_sigmas(evaluator, num_keypoints):
    """Returns the evaluator. Sets the sigmas of the keypoints if these are not COCO's 17 of a person."""
    if evaluator.params.iouType == "keypoints" and num_keypoints != NUM_COCO_KEYPOINTS:
        evaluator.params.kpt_oks_sigmas = np.full(num_keypoints, OTHER_KEYPOINT_SIGMA)
    return evaluator


def coco_index(content: dict) -> COCO:
    """Returns pycocotools' `COCO` object of annotations in memory."""
    coco = COCO()
    coco.dataset = content  # pyright: ignore[reportAttributeAccessIssue], the stubs have a private type
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
