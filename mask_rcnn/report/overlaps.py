"""COCO's evaluation, extended by the IoU of each detection with objects of all classes of its image.

COCO's evaluation does not compute IoUs across classes, but they are needed to find the type of an error.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.evaluation.average_precision import coco_evaluator, coco_index
from mask_rcnn.evaluation.coco_matching import VectorizedCOCOeval, best_first
from mask_rcnn.report.boundary import boundary_of, boundary_width

ALL_CLASSES: Any = None  # in place of a category id; pycocotools accepts any key


class OverlapEvaluator(VectorizedCOCOeval):
    """A COCOeval that also keeps the IoUs across the classes of each image.

    Args:
        ground_truth, detections: Contents of COCO jsons, from `coco_evaluator`.
        iou_type: "bbox", "segm" or "keypoints".

    Attributes:
        overlaps: {image number: `[D, G]` IoU} of `detections_of` and `objects_of` the image.
    """

    def __init__(self, ground_truth: dict, detections: dict, iou_type: Any):
        super().__init__(coco_index(ground_truth), coco_index(detections), iou_type)
        self.overlaps = {}

    def evaluate_all(self, boundary: bool = False, track: Callable[[list], Iterable] = iter) -> None:
        """Matches all detections and computes precision and recall.

        Args:
            boundary: Whether the overlap of masks is the smaller of mask IoU and boundary IoU. Defaults to
                False.
            track: Function that yields the image numbers of a list, to show progress. Defaults to `iter`.
        """
        self._prepare()
        self.ious = {}
        classes = self.classes_of_images()
        for image in track(self.params.imgIds):
            self._add_overlaps(image, classes[image], boundary)
        self.match_images(classes)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            self.accumulate()

    def objects_of(self, image: int) -> list[dict]:
        """Returns the objects of an image, grouped by class."""
        return self._gts[image, ALL_CLASSES]

    def detections_of(self, image: int) -> list[dict]:
        """Returns the evaluated detections of an image, the highest score first."""
        return self._dts[image, ALL_CLASSES]

    def _add_overlaps(self, image, categories, boundary):
        """Computes the IoUs of an image, and selects those of each class."""
        objects, detections = [], []
        for category in categories:
            objects += self._gts[image, category]
            detections += best_first(self._dts[image, category])[: self.params.maxDets[-1]]
        self._gts[image, ALL_CLASSES] = objects
        self._dts[image, ALL_CLASSES] = detections = best_first(detections)
        overlaps = np.zeros((len(detections), len(objects)))
        if overlaps.size:
            overlaps = self._overlaps(image, boundary)
        self.overlaps[image] = overlaps
        rows = np.array([each["category_id"] for each in detections])
        columns = np.array([each["category_id"] for each in objects])
        for category in categories:
            self.ious[image, category] = overlaps[rows == category][:, columns == category]

    def _overlaps(self, image, boundary):
        limits, self.params.maxDets = self.params.maxDets, [sys.maxsize]  # already limited per class
        compute = self.computeOks if self.params.iouType == "keypoints" else self.computeIoU
        overlaps = compute(image, ALL_CLASSES)
        self.params.maxDets = limits
        return np.minimum(overlaps, self._boundary_overlaps(image)) if boundary else overlaps

    def _boundary_overlaps(self, image):
        objects, detections = self.objects_of(image), self.detections_of(image)
        width = boundary_width(objects[0]["segmentation"]["size"])
        boundaries: Any
        object_boundaries: Any
        boundaries, object_boundaries = (
            [boundary_of(each["segmentation"], width) for each in part] for part in (detections, objects)
        )
        return coco_mask.iou(boundaries, object_boundaries, [int(each["iscrowd"]) for each in objects])


def evaluate_overlaps(
    content: CocoContent,
    entries: Sequence[dict],
    image_ids: Sequence[int | str],
    *,
    iou_type: str,
    max_detections: int,
    track: Callable[[list], Iterable] = iter,
) -> OverlapEvaluator:
    """Returns an `OverlapEvaluator` after its evaluation.

    Args:
        content, entries, image_ids, max_detections: As in `average_precision`.
        iou_type: One of "bbox", "segm", "keypoints", or "boundary" for Boundary AP.
        track: As in `evaluate_all`. Defaults to `iter`.
    """
    is_boundary = iou_type == "boundary"
    evaluator = coco_evaluator(
        content,
        entries,
        image_ids,
        iou_type="segm" if is_boundary else iou_type,
        max_detections=max_detections,
        evaluator_of=OverlapEvaluator,
    )
    evaluator.evaluate_all(is_boundary, track)
    return evaluator
