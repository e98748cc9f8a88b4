"""All that is known of the detections of a run, by one IoU type."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.average_precision import MAX_KEYPOINT_DETECTIONS, ordered
from mask_rcnn.data.coco_content import CocoContent
from mask_rcnn.report.curves import class_curves, score_thresholds, total_curve
from mask_rcnn.report.errors import detection_errors
from mask_rcnn.report.evaluation import Evaluation, evaluate_images
from mask_rcnn.report.operating_point import OperatingPoint, image_errors, operating_point

TITLES = {"bbox": "boxes", "segm": "masks", "boundary": "mask boundaries", "keypoints": "keypoints"}
MAIN_TYPES = ("keypoints", "segm", "bbox")  # what the report is about: the first that there is


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What is evaluated.

    Args:
        name: Name of the results file or of the model.
        content: `CocoContent` of the annotations.
        entries: Checked entries of a results file.
        image_ids: Ids of the images that count.
        iou_types: Those of `evaluate_results` that are measurable.
        max_detections: How many detections of a class count in an image, the best first.
    """

    name: str
    content: CocoContent
    entries: tuple[dict, ...]
    image_ids: tuple
    iou_types: tuple[str, ...]
    max_detections: int

    def __post_init__(self):
        object.__setattr__(self, "image_ids", tuple(ordered(self.image_ids)))

    @property
    def file_names(self):
        """{image id: `file_name`}."""
        return {image["id"]: image["file_name"] for image in self.content.images}

    @property
    def class_names(self):
        """Names of the classes, in the order of their ids."""
        return [each.name for each in sorted(self.content.categories, key=lambda category: category.id)]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The evaluation of a run by one IoU type, and what follows from it.

    Args:
        evaluation: `Evaluation`.
        curves: `score_curve` of each class.
        total: `score_curve` of all classes together.
        thresholds: `[K]`, the score thresholds that maximize F1.
        kinds, targets: Of `detection_errors`.
        point: `OperatingPoint` of the thresholds.
        images: Of `image_errors`.
    """

    evaluation: Evaluation
    curves: list
    total: dict
    thresholds: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    point: OperatingPoint
    images: dict


def analyze(evaluation):
    """Returns the `Analysis` of an `Evaluation`."""
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


def analyze_run(detected, track=None):
    """Returns {IoU type: `Analysis`} of a run; masks are also evaluated by their boundaries.

    Args:
        detected: `Detected`.
        track: Function of items, their number and a description that yields them, to show progress.
    """
    found = {}
    for iou_type in detected.iou_types:
        for kind in (iou_type, "boundary") if iou_type == "segm" else (iou_type,):
            evaluation = evaluate_images(
                detected.content,
                detected.entries,
                detected.image_ids,
                kind,
                MAX_KEYPOINT_DETECTIONS if kind == "keypoints" else detected.max_detections,
                progress(track, len(detected.image_ids), f"matching {TITLES[kind]}"),
            )
            found[kind] = analyze(evaluation)
    return found


def measure(iou_types):
    """Returns what overlaps are called: IoU, for keypoints OKS (object keypoint similarity), or both."""
    names = ["OKS" if kind == "keypoints" else "IoU" for kind in iou_types]
    return " or ".join(dict.fromkeys(names))


def main_type(analyses):
    """Returns the IoU type that a report is about; `analyses` has the IoU types as keys."""
    return next(kind for kind in MAIN_TYPES if kind in analyses)


def progress(track, total, description):
    """Returns what items are iterated through; `track` is that of `analyze_run`."""
    return iter if track is None else lambda items: track(items, total, description)
