"""The arithmetic of COCO's average precision, by pycocotools or hotcoco.

pycocotools is the reference; `coco_matching` has the loop in which it would spend nearly all of its time.
hotcoco does the same arithmetic to the bit. Both give arrays of precision and recall, and each number that
COCO reports is the mean over a part of one.

Letters: T IoU thresholds, R recall points, K classes, S size ranges, M limits of detections per image.
"""

import contextlib
import io

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mask_rcnn.coco_matching import VectorizedCOCOeval
from mask_rcnn.data.annotations import clipped
from mask_rcnn.data.federated_results import federated_entries
from mask_rcnn.data.federation import FREQUENCIES, NEGATIVE
from mask_rcnn.data.results import box_of

BACKENDS = ("pycocotools", "hotcoco")

# The numbers that COCO reports: name, array, IoU threshold (None: mean over all), size range, which limit.
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
# LVIS's numbers: those of sizes, and the means over the classes of each frequency.
FEDERATED_NUMBERS = (
    *OBJECT_NUMBERS[:6],
    *((f"AP_{name}", "precision", None, letter, -1) for letter, name in FREQUENCIES.items()),
    OBJECT_NUMBERS[8],  # AR
)
NUMBERS = {"bbox": OBJECT_NUMBERS, "segm": OBJECT_NUMBERS, "keypoints": KEYPOINT_NUMBERS}
MAX_KEYPOINT_DETECTIONS = 20  # COCO's
NUM_COCO_KEYPOINTS = 17  # of a person; for these COCO has measured how exactly people place them
OTHER_KEYPOINT_SIGMA = 0.07  # the mean of COCO's, for keypoints of which that is unknown


def average_precision(content, entries, image_ids, iou_type, backend, max_detections):
    """Scores detections by one IoU type.

    Args:
        content: `CocoContent` of the annotations.
        entries: Checked entries of a results file.
        image_ids: Ids of the images that count.
        iou_type: One of `NUMBERS`.
        backend: One of `BACKENDS`.
        max_detections: How many detections of a class count in an image, the best first; of all classes if
            the annotations have a `Federation`.

    Returns:
        The numbers of COCO, or of LVIS, by name, and the AP of each category in the order of its id; None if
        there is nothing to measure.
    """
    evaluator = coco_evaluator(content, entries, image_ids, iou_type, max_detections, _EVALUATORS[backend])
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator.evaluate()
        evaluator.accumulate()
    arrays = {name: np.asarray(evaluator.eval[name]) for name in ("precision", "recall")}
    return summary_of(arrays, iou_type, content.frequencies), class_average_precision(arrays["precision"])


def summary_of(arrays, iou_type, frequencies=None):
    """Returns the numbers of COCO, or of LVIS, by name; None if there is nothing to measure.

    Args:
        arrays: `{"precision": [T, R, K, S, M], "recall": [T, K, S, M]}`, as COCOeval has them.
        iou_type: One of `NUMBERS`.
        frequencies: `[K]`, `CocoContent.frequencies`. Defaults to None: the numbers are COCO's.
    """
    if frequencies is None:
        return {name: _mean(arrays, iou_type, *part) for name, *part in NUMBERS[iou_type]}
    found = {}
    for name, array, threshold, part, limit in FEDERATED_NUMBERS:
        if part in FREQUENCIES:
            of_classes = {array: arrays[array][:, :, frequencies == part]}
            found[name] = _mean(of_classes, iou_type, array, threshold, "all", limit)
        else:
            found[name] = _mean(arrays, iou_type, array, threshold, part, limit)
    return found


def class_average_precision(precision):
    """Returns the AP of each category in the order of its id; None without objects.

    Args:
        precision: `[T, R, K, S, M]`, as COCOeval has it.
    """
    return [mean_of_measured(each) for each in np.moveaxis(precision[..., 0, -1], 2, 0)]


def _mean(arrays, iou_type, name, threshold, size, limit):
    """Returns one of COCO's numbers; the arguments after `iou_type` are those of a row of `NUMBERS`."""
    sizes = ("all", "medium", "large") if iou_type == "keypoints" else ("all", "small", "medium", "large")
    part = arrays[name][..., sizes.index(size), limit]
    if threshold is not None:
        part = part[round((threshold - 0.5) / 0.05)]  # thresholds are 0.50, 0.55, .. 0.95
    return mean_of_measured(part)


def mean_of_measured(values):
    """Returns the mean of what could be measured, or None; pycocotools marks what could not be with -1."""
    measured = values[values > -1]
    return float(np.mean(measured)) if measured.size else None


def _numbering(content):
    """Returns {image id: 1..N} in the order of the ids, by which COCO breaks ties of equal scores."""
    return {id: number for number, id in enumerate(ordered(image["id"] for image in content.images), start=1)}


def ordered(image_ids):
    """Returns ids of images in the order of COCO, as a list: numbers before text, each sorted."""
    return sorted(image_ids, key=lambda id: (isinstance(id, str), id))


def coco_evaluator(content, entries, image_ids, iou_type, max_detections, evaluator_of):
    """Returns a COCOeval that is ready to evaluate. It gets copies, for pycocotools writes into its input.

    Images get the numbers 1..N in the order of their ids, annotations and entries in their own order.

    Args:
        content, entries, image_ids, iou_type, max_detections: As in `average_precision`.
        evaluator_of: Function of the ground truth, the detections (both as the content of a COCO json) and
            the IoU type that returns a COCOeval.
    """
    numbers, num_keypoints = _numbering(content), _num_keypoints(content)
    truth = {
        "images": [
            {"id": numbers[image["id"]], "height": image["height"], "width": image["width"], **fields}
            for image, fields in zip(content.images, _federated_fields(content), strict=True)
        ],
        "categories": [{"id": category.id, "name": category.name} for category in content.categories],
    }
    sizes = content.sizes
    objects = [
        _with_geometry(one, iou_type, num_keypoints, sizes[one["image_id"]]) for one in content.annotations
    ]
    detections = [_as_annotation(entry, iou_type) for entry in entries]
    contents = [
        {
            **truth,
            "annotations": [_numbered(one, number, numbers) for number, one in enumerate(part, start=1)],
        }
        for part in (objects, detections)
    ]
    limits = [1, min(10, max_detections), max_detections]
    if content.federation is not None:
        contents[1]["annotations"] = _federated(contents[1]["annotations"], entries, content, max_detections)
    evaluator = _with_sigmas(evaluator_of(*contents, iou_type), num_keypoints)
    has_one_limit = iou_type == "keypoints" or content.federation is not None
    evaluator.params.maxDets = [max_detections] if has_one_limit else limits
    evaluator.params.imgIds = sorted(numbers[id] for id in image_ids)
    return evaluator


def _federated_fields(content):
    """Returns what each image has of the fields of LVIS, a list of dicts."""
    if content.federation is None:
        return [{} for _ in content.images]
    return content.federation.fields_of_images(len(content.images))


def _federated(detections, entries, content, max_detections):
    """Returns the detections that count by LVIS's rules, as `VectorizedCOCOeval` takes them."""
    found = federated_entries(entries, content, max_detections)
    flags = zip(detections, found.is_counted.tolist(), found.is_excused.tolist(), strict=True)
    return [{**each, "is_excused": is_excused} for each, is_counted, is_excused in flags if is_counted]


def _hotcoco_evaluator(truth, detections, iou_type):
    try:
        import hotcoco
    except ImportError as error:
        raise ValueError(
            "The backend hotcoco must be installed. Received: backend='hotcoco', which cannot be imported. "
            "Run `pip install mask-rcnn[fast-eval]`, or use backend='pycocotools'."
        ) from error
    is_federated = NEGATIVE in truth["images"][0]
    return hotcoco.COCOeval(hotcoco.COCO(truth), hotcoco.COCO(detections), iou_type, lvis_style=is_federated)


def _pycocotools_evaluator(truth, detections, iou_type):
    return VectorizedCOCOeval(coco_index(truth), coco_index(detections), iou_type)


_EVALUATORS = {"pycocotools": _pycocotools_evaluator, "hotcoco": _hotcoco_evaluator}


def _numbered(annotation, number, image_numbers):
    """Returns a copy without nulls and with ids from 1: pycocotools takes a match with the id 0 for none."""
    known = {name: value for name, value in annotation.items() if value is not None}
    return {**known, "id": number, "image_id": image_numbers[annotation["image_id"]]}


def _num_keypoints(content):
    return int(content.annotations.table.num_keypoints.max(initial=0))


def _with_geometry(annotation, iou_type, num_keypoints, size):
    """Returns an annotation with what `iou_type` compares.

    An object without a mask is for masks what a crowd region is: neither missed nor wrong if it is found.
    COCO ignores objects without keypoints by itself.
    """
    if iou_type == "segm" and annotation["segmentation"] is None:
        y1, x1, y2, x2 = clipped(annotation["bbox"], size)
        return {**annotation, "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], "iscrowd": 1}
    if iou_type == "keypoints":
        points = annotation["keypoints"] or []
        return {**annotation, "keypoints": points + [0] * (3 * num_keypoints - len(points))}
    return annotation


def _as_annotation(entry, iou_type):
    """Returns an entry of a results file in the form of an annotation, with the area that COCO compares."""
    if iou_type == "segm":  # The size of an object is that of its mask, not of its box.
        area = float(coco_mask.area(entry["segmentation"]))
    else:
        entry = {**entry, "bbox": box_of(entry)}
        area = entry["bbox"][2] * entry["bbox"][3]
    return {**entry, "iscrowd": 0, "area": area}


def _with_sigmas(evaluator, num_keypoints):
    """Returns the evaluator with a sigma for each keypoint, where they are not those of COCO's persons."""
    if evaluator.params.iouType == "keypoints" and num_keypoints != NUM_COCO_KEYPOINTS:
        evaluator.params.kpt_oks_sigmas = np.full(num_keypoints, OTHER_KEYPOINT_SIGMA)
    return evaluator


def coco_index(content):
    """Returns pycocotools' index of annotations that are in memory."""
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
