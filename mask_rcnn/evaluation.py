"""How good detections are: COCO's average precision, for boxes, masks and keypoints.

pycocotools is the reference; hotcoco does the same arithmetic to the bit, faster. Both give arrays of
precision and recall, and each number that COCO reports is the mean over a part of one.

Letters: T IoU thresholds, R recall points, K classes, S size ranges, M limits of detections per image.
"""

import contextlib
import importlib.metadata
import io

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_rcnn.coco_results import read_annotations, read_results, to_coco
from mask_rcnn.metrics import ClassScore, Metrics

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
NUMBERS = {"bbox": OBJECT_NUMBERS, "segm": OBJECT_NUMBERS, "keypoints": KEYPOINT_NUMBERS}
MAX_KEYPOINT_DETECTIONS = 20  # COCO's
NUM_COCO_KEYPOINTS = 17  # of a person; for these COCO has measured how exactly people place them
OTHER_KEYPOINT_SIGMA = 0.07  # the mean of COCO's, for keypoints of which that is unknown


def evaluate_results(
    results,
    annotations,
    iou_types=("bbox", "segm"),
    backend="pycocotools",
    image_ids=None,
    max_detections=100,
):
    """Scores the entries of a COCO results file.

    Args:
        results: path of a results file, or its content as `to_coco` writes it; may be empty.
        annotations: path of the annotation file, or its content.
        iou_types: any of `"bbox"`, `"segm"`, `"keypoints"`.
        backend: `"pycocotools"`, or `"hotcoco"` (the extra `fast-eval`).
        image_ids: the images that were looked at; all of the annotation file by default.
        max_detections: how many detections of an image count. COCO's is 100; scores with another limit
            cannot be compared with published ones.

    Returns:
        `Metrics`.
    """
    unknown = [iou_type for iou_type in iou_types if iou_type not in NUMBERS]
    if unknown:
        raise ValueError(
            f"`iou_types` must be some of {tuple(NUMBERS)}. Received: {unknown}. Leave them out."
        )
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {BACKENDS}. Received: backend={backend!r}. Correct its name."
        )
    truth = read_annotations(annotations)
    results = read_results(results, truth)
    if image_ids is None:
        image_ids = [image["id"] for image in truth["images"]]
    image_ids = sorted(set(image_ids))

    summary, class_ap = {}, {}
    for iou_type in iou_types:
        arrays = _precision_and_recall(
            _evaluator(truth, results, iou_type, backend), image_ids, max_detections
        )
        summary[iou_type] = {name: _mean(arrays, iou_type, *part) for name, *part in NUMBERS[iou_type]}
        class_ap[iou_type] = [
            _mean_of_measured(k) for k in np.moveaxis(arrays["precision"][..., 0, -1], 2, 0)
        ]
    version = importlib.metadata.version(backend)
    classes = _class_scores(truth, image_ids, class_ap)
    return Metrics(summary, classes, len(image_ids), max_detections, backend, version)


def _precision_and_recall(evaluator, image_ids, max_detections):
    """Returns `{"precision": [T, R, K, S, M], "recall": [T, K, S, M]}`; -1 where there is no truth."""
    limits = [1, min(10, max_detections), max_detections]
    evaluator.params.maxDets = (
        [MAX_KEYPOINT_DETECTIONS] if evaluator.params.iouType == "keypoints" else limits
    )
    evaluator.params.imgIds = image_ids
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator.evaluate()
        evaluator.accumulate()
    return {name: np.asarray(evaluator.eval[name]) for name in ("precision", "recall")}


def _mean(arrays, iou_type, name, threshold, size, limit):
    """Returns one of COCO's numbers; the arguments after `iou_type` are those of a row of `NUMBERS`."""
    sizes = ("all", "medium", "large") if iou_type == "keypoints" else ("all", "small", "medium", "large")
    part = arrays[name][..., sizes.index(size), limit]
    if threshold is not None:
        part = part[round((threshold - 0.5) / 0.05)]  # thresholds are 0.50, 0.55, .. 0.95
    return _mean_of_measured(part)


def _mean_of_measured(values):
    """Returns the mean of what could be measured, or None; pycocotools marks what could not be with -1."""
    measured = values[values > -1]
    return float(np.mean(measured)) if measured.size else None


def _class_scores(truth, image_ids, class_ap):
    """Returns a `ClassScore` for each category; `class_ap` lists them in the order of their ids."""
    order = sorted(category["id"] for category in truth["categories"])
    images, counts = set(image_ids), dict.fromkeys(order, 0)
    for annotation in truth["annotations"]:
        if annotation["image_id"] in images and not annotation["iscrowd"]:
            counts[annotation["category_id"]] += 1
    scores = []
    for category in truth["categories"]:
        id = category["id"]
        ap = {iou_type: values[order.index(id)] for iou_type, values in class_ap.items()}
        scores.append(ClassScore(id, category["name"], counts[id], ap))
    return tuple(scores)


def _evaluator(truth, results, iou_type, backend):
    """Returns the COCOeval of a backend, filled with copies, for pycocotools writes into its input."""
    if iou_type == "keypoints":
        truth = _with_all_keypoints(truth)
    objects = [_with_geometry(a, iou_type, f"annotation {a['id']}") for a in truth["annotations"]]
    detections = [_as_annotation(entry, i, iou_type) for i, entry in enumerate(results)]
    contents = [{**truth, "annotations": part} for part in (objects, detections)]
    if backend == "pycocotools":
        return _with_sigmas(COCOeval(*map(_index, contents), iou_type), objects)
    try:
        import hotcoco
    except ImportError as error:
        raise ValueError(
            "The backend hotcoco must be installed. Received: backend='hotcoco', which cannot be imported. "
            "Run `pip install mask-rcnn[fast-eval]`, or use backend='pycocotools'."
        ) from error
    return _with_sigmas(hotcoco.COCOeval(*map(hotcoco.COCO, contents), iou_type), objects)


def _with_all_keypoints(truth):
    """Returns the truth with zeros as the keypoints of objects without any; COCO ignores these objects."""
    longest = max((len(a.get("keypoints") or ()) for a in truth["annotations"]), default=0)
    objects = []
    for annotation in truth["annotations"] if longest else ():
        points = annotation.get("keypoints") or [0] * longest
        known = sum(visibility > 0 for visibility in points[2::3])
        objects.append({"num_keypoints": known, **annotation, "keypoints": points})
    return {**truth, "annotations": objects or truth["annotations"]}


def _with_sigmas(evaluator, objects):
    """Returns the evaluator with a sigma for each keypoint, where they are not those of COCO's persons."""
    num_keypoints = len(objects[0]["keypoints"]) // 3 if objects and "keypoints" in objects[0] else 0
    if evaluator.params.iouType == "keypoints" and num_keypoints not in (0, NUM_COCO_KEYPOINTS):
        evaluator.params.kpt_oks_sigmas = np.full(num_keypoints, OTHER_KEYPOINT_SIGMA)
    return evaluator


def _index(content):
    """Returns pycocotools' index of annotations that are in memory."""
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _as_annotation(entry, i, iou_type):
    """Returns an entry of a results file in the form of an annotation, with the area that COCO compares."""
    entry = _with_geometry(entry, iou_type, f"result entry {i}")
    if iou_type == "segm":  # The size of an object is that of its mask, not of its box.
        area = float(coco_mask.area(entry["segmentation"]))
    elif "bbox" in entry:
        area = entry["bbox"][2] * entry["bbox"][3]
    else:
        area = float(np.prod(np.ptp(np.reshape(entry["keypoints"], (-1, 3))[:, :2], axis=0)))
    return {**entry, "id": i + 1, "iscrowd": 0, "area": area}


def _with_geometry(entry, iou_type, name):
    """Returns a copy of an entry that has what `iou_type` compares."""
    key = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[iou_type]
    if iou_type == "bbox" and "bbox" not in entry and "segmentation" in entry:
        return {**entry, "bbox": coco_mask.toBbox(entry["segmentation"]).tolist()}
    if not entry.get(key):
        raise ValueError(
            f"To score {iou_type!r}, {name} needs a {key!r}. Received: keys {sorted(entry)}. "
            f"Leave {iou_type!r} out of `iou_types`, or add what is missing."
        )
    return dict(entry)


def evaluate_model(predictor, dataset, annotations, backend="pycocotools", track=iter):
    """Detects the objects in all images of a data set, and scores them.

    A model that gives more than COCO's 100 detections an image is scored by as many as it gives.

    Args:
        predictor: a `Predictor`.
        dataset: a `Dataset`; its classes are the model's, by name.
        annotations: path of the COCO json that it was read from, or its content.
        backend: as in `evaluate_results`.
        track: what the images are iterated through, to show progress.

    Returns:
        `Metrics`, and the entries of a COCO results file.
    """
    categories = _matching_categories(predictor.categories, dataset.categories)
    results = []
    for image in track(dataset.images):
        results += to_coco(predictor.predict(image.path), image.id, categories)
    metrics = evaluate_results(
        results,
        annotations,
        iou_types_of(predictor.config),
        backend,
        image_ids=[image.id for image in dataset.images],
        max_detections=predictor.config.box_head.max_detections,
    )
    return metrics, results


def iou_types_of(config):
    """Returns what the detections of a model can be scored by: its boxes, and what its heads add."""
    heads = {"segm": config.mask_head, "keypoints": config.keypoint_head}
    return ("bbox", *(iou_type for iou_type, head in heads.items() if head))


def _matching_categories(model, dataset):
    """Returns the data set's category for each class of the model, found by its name: ids may differ."""
    by_name = {category.name: category for category in dataset}
    names = [category.name for category in model]
    if sorted(names) != sorted(by_name):
        raise ValueError(
            f"The annotations must have the classes that the model was trained on: {', '.join(names)}. "
            f"Received: {', '.join(by_name)}. Use other weights, or train with these annotations."
        )
    return [by_name[name] for name in names]
