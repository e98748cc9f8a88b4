"""COCO's matching of detections with objects, vectorized over the IoU thresholds.

pycocotools loops over thresholds, detections and objects in Python. That takes long for images with hundreds
of objects. The results here are bitwise equal to those of pycocotools.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval


class VectorizedCOCOeval(COCOeval):
    """COCOeval of pycocotools with faster loops. It always evaluates per class (`useCats`).

    A detection with a true `is_always_ignored` is not a false positive: it is ignored if it matches nothing.
    """

    # The stubs of pycocotools lack these attributes, or declare other types than pycocotools uses.
    _gts: Any
    _dts: Any
    _prepare: Callable[[], None]
    ious: Any
    evalImgs: Any

    def evaluate(self) -> None:
        """Matches all detections with objects and stores the result in `evalImgs`, as pycocotools does."""
        self._prepare()
        compute = self.computeOks if self.params.iouType == "keypoints" else self.computeIoU
        classes = self.classes_of_images()
        self.ious = {
            (image, category): compute(image, category)
            for image, categories in classes.items()
            for category in categories
        }
        self.match_images(classes)

    def classes_of_images(self) -> dict[int, list[int]]:
        """Returns {image: list of the classes with objects or detections}, both in the order of `params`.

        Most images of a data set with a thousand classes have objects of only a few of them.
        """
        pairs = {pair for index in (self._gts, self._dts) for pair, entries in index.items() if entries}
        classes = {image: [] for image in self.params.imgIds}
        for image, category in sorted(pairs):
            classes[image].append(category)
        return classes

    def match_images(self, classes: Mapping[int, Sequence[int]]) -> None:
        """Matches the detections of all images. `self.ious` must be set.

        Args:
            classes: Dict of `classes_of_images`.
        """
        parameters = self.params
        class_index = {category: k for k, category in enumerate(parameters.catIds)}
        num_images, num_areas, limit = len(parameters.imgIds), len(parameters.areaRng), parameters.maxDets[-1]
        results = {}
        for i, (image, categories) in enumerate(classes.items()):
            for category in categories:
                for a, area in enumerate(parameters.areaRng):
                    position = (class_index[category] * num_areas + a) * num_images + i
                    results[position] = self.evaluateImg(image, category, area, limit)
        self.evalImgs = SparseList(len(class_index) * num_areas * num_images, results)
        self._paramsEval = copy.deepcopy(parameters)

    def evaluateImg(self, imgId: int, catId: int, aRng: Sequence[float], maxDet: int) -> dict | None:
        """Matches the detections of a class in an image. Same name, arguments and result as in pycocotools.

        Detections are processed by descending score. Each gets the unmatched object with the largest IoU.
        Ignored objects (crowd regions, or objects outside the range of areas) are used only if no other one
        is left.
        """
        objects = self._gts[imgId, catId]
        detections = best_first(self._dts[imgId, catId])[:maxDet]
        if not objects and not detections:
            return None
        is_ignored = np.array([bool(each["ignore"]) or _is_outside(each, aRng) for each in objects], bool)
        order = np.argsort(is_ignored, kind="stable")
        objects, is_ignored = [objects[i] for i in order], is_ignored[order]
        is_crowd = np.array([bool(each["iscrowd"]) for each in objects], bool)
        overlaps = np.zeros((len(detections), len(objects)))
        if overlaps.size:
            overlaps = self.ious[imgId, catId][: len(detections), order]
        matches = match_in_order(
            overlaps, is_ignored=is_ignored, is_crowd=is_crowd, thresholds=self.params.iouThrs
        )  # [T, D]
        object_ids = np.array([each["id"] for each in objects] or [0])
        is_always_ignored = np.array(
            [each.get("is_always_ignored") or _is_outside(each, aRng) for each in detections], bool
        )
        is_matched = matches >= 0
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": [each["id"] for each in detections],
            "gtIds": [each["id"] for each in objects],
            "dtMatches": np.where(is_matched, object_ids[matches], 0),
            "dtScores": [each["score"] for each in detections],
            "gtIgnore": is_ignored.astype(int),
            "dtIgnore": np.where(is_matched, np.append(is_ignored, False)[matches], is_always_ignored),
        }


class SparseList(Sequence):
    """A list in which nearly all items are None.

    Args:
        length: Number of items.
        items: Dict {index: item} of the items that are not None.
    """

    def __init__(self, length: int, items: dict[int, Any]):
        self.length, self.items = length, items

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError(f"Expected an index below {self.length}. Received: {index}.")
        return self.items.get(index)


def best_first(detections: Sequence[dict]) -> list[dict]:
    """Returns entries of a results file by descending score. Entries with equal scores keep their order."""
    order = np.argsort([-each["score"] for each in detections], kind="mergesort")
    return [detections[i] for i in order]


def _is_outside(each, area_range):
    return each["area"] < area_range[0] or each["area"] > area_range[1]


def match_in_order(
    overlaps: np.ndarray, *, is_ignored: np.ndarray, is_crowd: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Matches each detection, in order, with the unmatched object with the largest IoU, by COCO's rules.

    Args:
        overlaps: `[D, G]`, IoU of detections and objects.
        is_ignored: `[G]` bool, objects that are ignored. They must come last.
        is_crowd: `[G]` bool, objects that may match any number of detections.
        thresholds: `[T]`, minimum IoU.

    Returns:
        `[T, D]` int, index of the matched object, or -1.
    """
    matches = np.full((len(thresholds), len(overlaps)), -1)
    min_iou = np.minimum(thresholds, 1 - 1e-10)[:, None]
    is_free = np.ones((len(thresholds), len(is_crowd)), bool)
    num_regular = int((~is_ignored).sum())
    parts = [slice(*part) for part in ((0, num_regular), (num_regular, len(is_crowd))) if part[0] < part[1]]
    can_match = overlaps.max(axis=1, initial=0) >= min_iou.min(initial=1)
    for row in np.flatnonzero(can_match):
        for part in parts:
            iou = overlaps[row, part][::-1]  # reversed: of objects with equal IoU, COCO takes the last one
            allowed = is_free[:, part][:, ::-1] & (iou >= min_iou)
            best = part.stop - 1 - np.where(allowed, iou, -1).argmax(axis=1)
            is_matched = allowed.any(axis=1) & (matches[:, row] < 0)
            matches[is_matched, row] = best[is_matched]
            is_free[is_matched, best[is_matched]] = is_crowd[best[is_matched]]
    return matches
