"""Analyzes the detections of a run for each IoU type."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.evaluation.average_precision import MAX_KEYPOINT_DETECTIONS, sorted_image_ids
from mask_rcnn.report.curves import class_curves, score_thresholds, total_curve
from mask_rcnn.report.detection_matches import DetectionMatches, match_detections
from mask_rcnn.report.errors import detection_errors
from mask_rcnn.report.operating_point import OperatingPoint, image_errors, operating_point

# Function of (items, their number, a description) that yields the items and shows progress.
Track = Callable[[Sequence, int, str], Iterable]
TITLES = {"bbox": "boxes", "segm": "masks", "boundary": "mask boundaries", "keypoints": "keypoints"}
MAIN_TYPES = ("keypoints", "segm", "bbox")  # a report shows details of the first of these that was evaluated


@dataclass(frozen=True, kw_only=True)
class RunDetections:
    """The detections of a run and the annotations to evaluate them on.

    Args:
        name: Name of the results file or of the model.
        content: `CocoContent` of the annotations.
        entries: Tuple of checked entries of a results file.
        image_ids: Ids of the evaluated images.
        iou_types: IoU types of `evaluate_results` that can be measured.
        max_detections: Maximum number of detections per class and image. The best are evaluated.
    """

    name: str
    content: CocoContent
    entries: tuple[dict, ...]
    image_ids: tuple[int | str, ...]
    iou_types: tuple[str, ...]
    max_detections: int

    def __post_init__(self):
        object.__setattr__(self, "image_ids", tuple(sorted_image_ids(self.image_ids)))

    @property
    def file_names(self) -> dict[int | str, str]:
        """{image id: `file_name`}."""
        return {image["id"]: image["file_name"] for image in self.content.images}

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of their ids."""
        return [each.name for each in sorted(self.content.categories, key=lambda category: category.id)]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The evaluation of a run for one IoU type, and results derived from it.

    Args:
        evaluation: `DetectionMatches`.
        curves: List with the `score_curve` of each class.
        total: `score_curve` of all classes together.
        thresholds: `[K]`, the score threshold of each class with the largest F1.
        kinds, targets: From `detection_errors`.
        point: `OperatingPoint` at the thresholds.
        images: From `image_errors`.
    """

    evaluation: DetectionMatches
    curves: list[dict]
    total: dict
    thresholds: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    point: OperatingPoint
    images: dict[str, np.ndarray]


def analyze(evaluation: DetectionMatches) -> Analysis:
    """Returns the `Analysis` of a `DetectionMatches`."""
    curves, total = class_curves(evaluation), total_curve(evaluation)
    thresholds = score_thresholds(curves, total)
    kinds, targets = detection_errors(evaluation)
    point = operating_point(evaluation, thresholds)
    return Analysis(
        evaluation=evaluation,
        curves=curves,
        total=total,
        thresholds=thresholds,
        kinds=kinds,
        targets=targets,
        point=point,
        images=image_errors(evaluation, point),
    )


def analyze_run(detected: RunDetections, track: Track | None = None) -> dict[str, Analysis]:
    """Returns {IoU type: `Analysis`} of a run. Masks are also evaluated by boundary IoU.

    Args:
        detected: `RunDetections`.
        track: Function of (items, their number, a description) that yields the items and shows progress.
            Defaults to None: no progress.
    """
    analyses = {}
    for iou_type in detected.iou_types:
        for kind in (iou_type, "boundary") if iou_type == "segm" else (iou_type,):
            evaluation = match_detections(
                detected.content,
                detected.entries,
                detected.image_ids,
                iou_type=kind,
                max_detections=MAX_KEYPOINT_DETECTIONS if kind == "keypoints" else detected.max_detections,
                track=progress(track, len(detected.image_ids), f"matching {TITLES[kind]}"),
            )
            analyses[kind] = analyze(evaluation)
    return analyses


def overlap_name(iou_types: Iterable[str]) -> str:
    """Returns the name of the overlap measure of IoU types: "IoU", "OKS" for keypoints, or both."""
    names = ["OKS" if kind == "keypoints" else "IoU" for kind in iou_types]
    return " or ".join(dict.fromkeys(names))


def main_iou_type(analyses: Mapping[str, Any]) -> str:
    """Returns the IoU type whose details a report shows. The keys of `analyses` are IoU types."""
    return next(kind for kind in MAIN_TYPES if kind in analyses)


def progress(track: Track | None, total: int, description: str) -> Callable[[Sequence], Iterable]:
    """Returns a function that yields items and shows progress. `track` is as in `analyze_run`."""
    return iter if track is None else lambda items: track(items, total, description)
