"""How good detections are: COCO's average precision, for boxes, masks and keypoints."""

import collections
import importlib.metadata

import numpy as np
from absl import logging

from mask_rcnn.average_precision import BACKENDS, MAX_KEYPOINT_DETECTIONS, NUMBERS, average_precision
from mask_rcnn.data import federated_results
from mask_rcnn.data.coco_content import CocoContent, read_annotations
from mask_rcnn.data.records import as_json
from mask_rcnn.data.results import load_results, mask_sizes, read_results
from mask_rcnn.metrics import Metrics, class_scores

FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}  # what an IoU type compares
MAX_DETECTIONS = 100  # COCO's, of a class in an image


def evaluate_results(
    results,
    annotations,
    iou_types=("bbox", "segm"),
    backend="pycocotools",
    image_ids=None,
    max_detections=None,
    shared_classes=False,
):
    """Scores the entries of a COCO results file.

    Args:
        results: Path of a results file, or its content as `to_coco` writes it; may be empty.
        annotations: Path of the annotation file, its content, or a `CocoContent` that was read before.
        iou_types: Any of `"bbox"`, `"segm"`, `"keypoints"`; None for those that the entries have.
        backend: `"pycocotools"`, or `"hotcoco"` (the extra `fast-eval`).
        image_ids: Ids of the images that were looked at. Defaults to all of the annotation file.
        max_detections: How many detections of a class count in an image, the best first, for boxes and
            masks; COCO counts 20 for keypoints. For images that were not searched for all classes, how many
            of all classes count. Defaults to COCO's 100 or LVIS's 300; scores with another limit cannot be
            compared with published ones.
        shared_classes: Leave out entries of categories that the annotations do not have, with a report.
            By default they are an error.

    Returns:
        `Metrics`.
    """
    check_options(iou_types, backend, max_detections)
    entries, content, warnings = read_detections(results, annotations, shared_classes)
    if iou_types is None:
        iou_types = iou_types_in(entries)
    ids = [image["id"] for image in content.images]
    if image_ids is not None:
        ids = [id for id in ids if id in set(image_ids)]
    limit = default_max_detections(content) if max_detections is None else max_detections
    return score_entries(entries, content, ids, iou_types, backend, limit, warnings)


def default_max_detections(content, of_class=MAX_DETECTIONS):
    """Returns how many detections count in an image: `of_class` of a class, or LVIS's 300 of all classes."""
    return of_class if content.federation is None else federated_results.MAX_DETECTIONS


def read_detections(results, annotations, shared_classes=False):
    """Reads a COCO results file and the annotations that it belongs to.

    Args:
        results, annotations, shared_classes: As in `evaluate_results`.

    Returns:
        The checked entries, the `CocoContent` of the annotations, and what was found, a sentence each.
    """
    entries, name, warnings = load_results(results)
    if isinstance(annotations, CocoContent):
        content = annotations
    else:
        content = read_annotations(annotations, mask_sizes(entries))
        warnings = [*content.warnings, *warnings]
    read = read_results(entries, content, shared_classes, name)
    return read.entries, content, (*warnings, *read.warnings)


def iou_types_in(entries):
    """Returns the IoU types that entries of a results file can be scored by; boxes if there is no entry.

    Boxes are those of masks, if an entry has no `bbox`. COCO's keypoint results have neither.
    """
    found = [kind for kind in NUMBERS if any(FIELDS[kind] in entry for entry in entries)]
    return tuple(found) if found == ["keypoints"] else tuple(dict.fromkeys(("bbox", *found)))


def check_options(iou_types, backend, max_detections):
    """Raises a ValueError unless the options can be those of `evaluate_results`."""
    unknown = [iou_type for iou_type in iou_types or () if iou_type not in NUMBERS]
    if unknown:
        raise ValueError(
            f"`iou_types` must be some of {tuple(NUMBERS)}. Received: {unknown}. Leave them out."
        )
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {BACKENDS}. Received: backend={backend!r}. Correct its name."
        )
    if max_detections is not None and max_detections < 1:
        raise ValueError(
            f"`max_detections` must be at least 1. Received: {max_detections}. COCO counts {MAX_DETECTIONS}."
        )


def score_entries(entries, content, image_ids, iou_types, backend, max_detections, warnings):
    """Returns the `Metrics` of checked entries.

    Args:
        entries: Of a COCO results file.
        content: `CocoContent`.
        image_ids: Ids of the images that count.
        iou_types, backend, max_detections: As in `evaluate_results`.
        warnings: What was found before, a sentence each.
    """
    chosen = set(image_ids)
    entries = [entry for entry in entries if entry["image_id"] in chosen]
    reasons = not_measurable(content, iou_types, image_ids)
    warnings = [*warnings, *(f"{iou_type} is not measurable: {why}" for iou_type, why in reasons.items())]
    if content.federation is not None:
        warnings += _federation_warnings(entries, content, max_detections)
    summary, class_ap = {}, {}
    for iou_type in iou_types:
        limit = MAX_KEYPOINT_DETECTIONS if iou_type == "keypoints" else max_detections
        if content.federation is None:
            warnings += _limit_warnings(entries, iou_type, limit)
        if iou_type in reasons:
            summary[iou_type] = dict.fromkeys(name for name, *_ in NUMBERS[iou_type])
            class_ap[iou_type] = [None] * len(content.categories)
            continue
        check_geometry(entries, content, iou_type)
        summary[iou_type], class_ap[iou_type] = average_precision(
            content, entries, image_ids, iou_type, backend, limit
        )
    return Metrics(
        summary,
        class_scores(content, chosen, class_ap),
        len(image_ids),
        max_detections,
        backend,
        importlib.metadata.version(backend),
        tuple(dict.fromkeys(warnings)),
        content.federation is not None,
    )


def not_measurable(content, iou_types, image_ids=None):
    """Tells what cannot be measured with these annotations, before a model is run or trained.

    Args:
        content: `CocoContent`.
        iou_types: As in `evaluate_results`.
        image_ids: As in `evaluate_results`.

    Returns:
        {IoU type: reason}; empty if everything can be measured.
    """
    ids = {image["id"] for image in content.images} if image_ids is None else set(image_ids)
    table = content.annotations.table
    is_chosen = np.array([image["id"] in ids for image in content.images], bool)
    objects = table.take(is_chosen[table.images] & ~table.crowd)
    if not len(objects):
        return dict.fromkeys(iou_types, f"none of the {len(ids)} images has an object")
    reasons = {}
    if "segm" in iou_types and not objects.has_mask.any():
        reasons["segm"] = f"none of the {len(objects)} objects has a mask"
    if "keypoints" in iou_types and not objects.has_keypoints.any():
        reasons["keypoints"] = f"none of the {len(objects)} objects has keypoints"
    if "keypoints" in iou_types and content.federation is not None:
        reasons["keypoints"] = "LVIS has no rules for keypoints"
    return reasons


def check_measurable(content, iou_types):
    """Raises a ValueError if nothing can be measured; logs a warning for each IoU type that cannot be.

    Args:
        content, iou_types: As in `not_measurable`.
    """
    reasons = not_measurable(content, iou_types)
    if len(reasons) == len(iou_types):
        raise ValueError(
            "Expected annotations with objects to measure by. "
            f"Received: {content.name}, {'; '.join(dict.fromkeys(reasons.values()))}. Give other annotations."
        )
    for iou_type, reason in reasons.items():
        logging.warning("%s: %s is not measurable: %s.", content.name, iou_type, reason)


def _limit_warnings(entries, iou_type, limit):
    """Says in how many images there are more detections of a class than count."""
    counts = collections.Counter((entry["image_id"], entry["category_id"]) for entry in entries)
    images = {image_id for (image_id, _), count in counts.items() if count > limit}
    if not images:
        return []
    kind = "keypoints" if iou_type == "keypoints" else "boxes and masks"
    return [
        f"{len(images)} images have more than {limit} detections of a class: "
        f"for {kind} the best {limit} count"
    ]


def _federation_warnings(entries, content, max_detections):
    """Says how many detections do not count by LVIS's rules."""
    found = federated_results.federated_entries(entries, content, max_detections)
    warnings = []
    if found.num_limited_images:
        warnings.append(
            f"{found.num_limited_images} images have more than {max_detections} detections: the best "
            f"{max_detections} count"
        )
    if found.num_unsearched:
        warnings.append(
            f"{found.num_unsearched:,} detections do not count: their image was not searched for their class"
        )
    return warnings


def check_geometry(entries, content, iou_type):
    """Raises a ValueError unless each entry has what an IoU type compares.

    Args:
        entries: Checked entries of a results file.
        content: `CocoContent` of the annotations.
        iou_type: One of `FIELDS`.
    """
    field = FIELDS[iou_type]
    others = ("segmentation",) if iou_type == "bbox" else ()
    missing = [i for i, entry in enumerate(entries) if not any(name in entry for name in (field, *others))]
    if missing:
        raise ValueError(
            f"To score {iou_type!r}, each entry needs {field!r}. Received: {len(missing)} of {len(entries)} "
            f"entries without, the first is entry {missing[0]} of those that count. "
            f"Leave {iou_type!r} out of `iou_types`, or add what is missing."
        )
    if iou_type == "keypoints":
        expected = 3 * content.annotations.table.num_keypoints.max()
        other = [entry for entry in entries if len(entry["keypoints"]) != expected]
        if other:
            raise ValueError(
                f"Each entry needs the {expected // 3} keypoints of the annotations. "
                f"Received: {len(other)} of {len(entries)} with another number, such as "
                f"{len(other[0]['keypoints']) // 3}. "
                "Use the annotations that the model was trained with."
            )


def content_of(dataset, annotations=None):
    """Returns the `CocoContent` of a `Dataset`.

    Args:
        dataset: A `Dataset`.
        annotations: Path or content of its json, or its `CocoContent`. Defaults to its records.
    """
    if isinstance(annotations, CocoContent):
        return annotations
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    source = as_json(dataset) if annotations is None else annotations
    return read_annotations(source, sizes, max_bad_images=1.0)  # the data set has been accepted
