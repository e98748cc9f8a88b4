"""Evaluation of a COCO results file: checks its entries and computes COCO's average precision (AP).

The detections exist already. `model_evaluation` runs a model and then calls this module.
"""

import collections
import importlib.metadata
from collections.abc import Iterable, Sequence

import numpy as np
from absl import logging

from mask_rcnn.data.readers import federated_results
from mask_rcnn.data.readers.coco_content import CocoContent, read_annotations
from mask_rcnn.data.readers.results import load_results, mask_sizes, read_results
from mask_rcnn.data.records import Dataset, as_json
from mask_rcnn.evaluation.average_precision import (
    BACKENDS,
    MAX_KEYPOINT_DETECTIONS,
    NUMBERS,
    Backend,
    average_precision,
)
from mask_rcnn.evaluation.metrics import Metrics, class_scores
from mask_rcnn.system.paths import AnyPath

FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}  # json field of each IoU type
MAX_DETECTIONS = 100  # COCO's limit per class and image


def evaluate_results(
    results: AnyPath | list[dict],
    annotations: AnyPath | dict | CocoContent,
    iou_types: Sequence[str] | None = ("bbox", "segm"),
    *,
    backend: Backend = "pycocotools",
    image_ids: Iterable[int | str] | None = None,
    max_detections: int | None = None,
    shared_classes: bool = False,
) -> Metrics:
    """Evaluates the entries of a COCO results file.

    Args:
        results: Path of a results file, or its content as returned by `to_coco`. It may be empty.
        annotations: Path of the annotation file, its content, or a `CocoContent`.
        iou_types: Sequence of `"bbox"`, `"segm"` and `"keypoints"`. None selects those that the entries
            contain. Defaults to boxes and masks.
        backend: `"pycocotools"`, the default, or `"hotcoco"` (the extra `fast-eval`).
        image_ids: Ids of the images to evaluate. Defaults to all images of the annotations.
        max_detections: Maximum number of detections per class and image for boxes and masks, the best first.
            Keypoints always use COCO's 20. For LVIS it is the maximum over all classes of an image. Defaults
            to COCO's 100 or LVIS's 300. With another limit, scores cannot be compared with published ones.
        shared_classes: Whether to leave out entries of categories that the annotations do not have, with a
            warning. Defaults to False: they are an error.

    Returns:
        `Metrics`.

    Raises:
        ValueError: If an option, the results or the annotations are invalid.
    """
    check_options(iou_types, backend, max_detections)
    entries, content, warnings = read_detections(results, annotations, shared_classes)
    if iou_types is None:
        iou_types = iou_types_in(entries)
    ids = [image["id"] for image in content.images]
    if image_ids is not None:
        ids = [id for id in ids if id in set(image_ids)]
    limit = default_max_detections(content) if max_detections is None else max_detections
    return score_entries(
        entries, content, ids, iou_types=iou_types, backend=backend, max_detections=limit, warnings=warnings
    )


def default_max_detections(content: CocoContent, per_class: int = MAX_DETECTIONS) -> int:
    """Returns the default limit of detections: `per_class` per class and image, or LVIS's 300 per image."""
    return per_class if content.federation is None else federated_results.MAX_DETECTIONS


def read_detections(
    results: AnyPath | list[dict], annotations: AnyPath | dict | CocoContent, shared_classes: bool = False
) -> tuple[tuple[dict, ...], CocoContent, tuple[str, ...]]:
    """Reads a COCO results file and its annotations.

    Args:
        results, annotations, shared_classes: See `evaluate_results`.

    Returns:
        Tuple of the checked entries, the `CocoContent` of the annotations, and warnings (one sentence each).
    """
    entries, name, warnings = load_results(results)
    if isinstance(annotations, CocoContent):
        content = annotations
    else:
        content = read_annotations(annotations, mask_sizes(entries))
        warnings = [*content.warnings, *warnings]
    read = read_results(entries, content, shared_classes=shared_classes, name=name)
    return read.entries, content, (*warnings, *read.warnings)


def iou_types_in(entries: Sequence[dict]) -> tuple[str, ...]:
    """Returns the IoU types that the entries of a results file contain. Returns ("bbox",) without entries.

    If an entry has no `bbox`, the box of its mask is used. COCO's keypoint results have neither.
    """
    iou_types = [each for each in NUMBERS if any(FIELDS[each] in entry for entry in entries)]
    return tuple(iou_types) if iou_types == ["keypoints"] else tuple(dict.fromkeys(("bbox", *iou_types)))


def check_options(iou_types: Sequence[str] | None, backend: str, max_detections: int | None) -> None:
    """Raises a ValueError if an argument of `evaluate_results` is invalid."""
    unknown = [iou_type for iou_type in iou_types or () if iou_type not in NUMBERS]
    if unknown:
        raise ValueError(f"`iou_types` must be some of {tuple(NUMBERS)}. Received: {unknown}. Remove them.")
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {BACKENDS}. Received: backend={backend!r}. Correct its name."
        )
    if max_detections is not None and max_detections < 1:
        raise ValueError(
            f"`max_detections` must be at least 1. Received: {max_detections}. COCO uses {MAX_DETECTIONS}."
        )


def score_entries(
    entries: Sequence[dict],
    content: CocoContent,
    image_ids: Sequence[int | str],
    *,
    iou_types: Sequence[str],
    backend: Backend,
    max_detections: int,
    warnings: Iterable[str],
) -> Metrics:
    """Returns the `Metrics` of checked entries.

    Args:
        entries: Checked entries of a COCO results file.
        content: `CocoContent` of the annotations.
        image_ids: Ids of the images to evaluate.
        iou_types, backend, max_detections: See `evaluate_results`.
        warnings: Earlier warnings to include, one sentence each.
    """
    evaluated_ids = set(image_ids)
    entries = [entry for entry in entries if entry["image_id"] in evaluated_ids]
    reasons = not_measurable(content, iou_types, image_ids)
    warnings = [
        *warnings,
        *(f"{iou_type} is not measurable: {reason}" for iou_type, reason in reasons.items()),
    ]
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
            content, entries, image_ids, iou_type=iou_type, backend=backend, max_detections=limit
        )
    return Metrics(
        summary=summary,
        classes=class_scores(content, evaluated_ids, class_ap),
        num_images=len(image_ids),
        max_detections=max_detections,
        backend=backend,
        backend_version=importlib.metadata.version(backend),
        warnings=tuple(dict.fromkeys(warnings)),
        is_federated=content.federation is not None,
    )


def not_measurable(
    content: CocoContent, iou_types: Sequence[str], image_ids: Iterable[int | str] | None = None
) -> dict[str, str]:
    """Returns which IoU types cannot be measured with these annotations, and why.

    It needs no detections, so it can be called before a model runs or trains.

    Args:
        content: `CocoContent` of the annotations.
        iou_types: See `evaluate_results`.
        image_ids: See `evaluate_results`. Defaults to all images.

    Returns:
        Dict {IoU type: reason}. It is empty if all can be measured.
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


def check_measurable(content: CocoContent, iou_types: Sequence[str]) -> None:
    """Raises a ValueError if no IoU type can be measured. Logs a warning for each one that cannot.

    Args:
        content, iou_types: See `not_measurable`.
    """
    reasons = not_measurable(content, iou_types)
    if len(reasons) == len(iou_types):
        raise ValueError(
            "The annotations must contain objects that AP can be computed from. "
            f"Received: {content.name}, {'; '.join(dict.fromkeys(reasons.values()))}. Use other annotations."
        )
    for iou_type, reason in reasons.items():
        logging.warning("%s: %s is not measurable: %s.", content.name, iou_type, reason)


def _limit_warnings(entries, iou_type, limit):
    """Returns a warning (in a list) if images have more detections of a class than are evaluated."""
    counts = collections.Counter((entry["image_id"], entry["category_id"]) for entry in entries)
    images = {image_id for (image_id, _), count in counts.items() if count > limit}
    if not images:
        return []
    compared = "keypoints" if iou_type == "keypoints" else "boxes and masks"
    return [
        f"{len(images)} images have more than {limit} detections of a class: "
        f"for {compared} the best {limit} count"
    ]


def _federation_warnings(entries, content, max_detections):
    """Returns warnings about detections that do not count under LVIS's rules."""
    federated = federated_results.federated_entries(entries, content, max_detections)
    warnings = []
    if federated.num_limited_images:
        warnings.append(
            f"{federated.num_limited_images} images have more than {max_detections} detections: the best "
            f"{max_detections} count"
        )
    if federated.num_unsearched:
        warnings.append(
            f"{federated.num_unsearched:,} detections do not count: "
            "their image was not searched for their class"
        )
    return warnings


def check_geometry(entries: Sequence[dict], content: CocoContent, iou_type: str) -> None:
    """Raises a ValueError if an entry lacks the field that an IoU type compares.

    Args:
        entries: Checked entries of a results file.
        content: `CocoContent` of the annotations.
        iou_type: "bbox", "segm" or "keypoints".
    """
    field = FIELDS[iou_type]
    accepted = (field, "segmentation") if iou_type == "bbox" else (field,)
    missing = [i for i, entry in enumerate(entries) if not any(name in entry for name in accepted)]
    if missing:
        raise ValueError(
            f"To score {iou_type!r}, each entry needs {field!r}. Received: {len(missing)} of {len(entries)} "
            f"entries without it. The first is entry {missing[0]} of the evaluated images. "
            f"Remove {iou_type!r} from `iou_types`, or add the field."
        )
    if iou_type == "keypoints":
        expected = 3 * content.annotations.table.num_keypoints.max()
        invalid = [entry for entry in entries if len(entry["keypoints"]) != expected]
        if invalid:
            raise ValueError(
                f"Each entry needs the {expected // 3} keypoints of the annotations. "
                f"Received: {len(invalid)} of {len(entries)} entries with another number, such as "
                f"{len(invalid[0]['keypoints']) // 3}. "
                "Use the annotations that the model was trained with."
            )


def content_of_dataset(
    dataset: Dataset, annotations: AnyPath | dict | CocoContent | None = None
) -> CocoContent:
    """Returns the `CocoContent` of a `Dataset`.

    Args:
        dataset: A `Dataset`.
        annotations: Path of its json, the content of its json, or its `CocoContent`. Defaults to None: it is
            created from the records of `dataset`.
    """
    if isinstance(annotations, CocoContent):
        return annotations
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    source = as_json(dataset) if annotations is None else annotations
    return read_annotations(source, sizes, max_bad_images=1.0)  # the data set has passed this check before
