"""COCO's matching of detections with objects, vectorized over the IoU thresholds.

pycocotools loops over thresholds, detections and objects in Python. That takes long for images with hundreds
of objects. The results here are bitwise equal to those of pycocotools.
"""

import copy
from collections.abc import Sequence

import numpy as np
from pycocotools.cocoeval import COCOeval


class VectorizedCOCOeval(COCOeval):
    """COCOeval of pycocotools with faster loops. It always evaluates per class (`useCats`).

    A detection with a true `is_excused` is not a false positive: it is ignored if it matches nothing.
    """

    def evaluate(self):
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

    def classes_of_images(self):
        """Returns {image: list of the classes with objects or detections}, both in the order of `params`.

        Most images of a data set with a thousand classes have objects of only a few of them.
        """
        pairs = {pair for part in (self._gts, self._dts) for pair, found in part.items() if found}
        found = {image: [] for image in self.params.imgIds}
        for image, category in sorted(pairs):
            found[image].append(category)
        return found

    def match_images(self, classes):
        """Matches the detections of all images. `self.ious` must be set.

        Args:
            classes: Dict of `classes_of_images`.
        """
        parameters = self.params
        class_index = {category: k for k, category in enumerate(parameters.catIds)}
        num_images, num_areas, limit = len(parameters.imgIds), len(parameters.areaRng), parameters.maxDets[-1]
        found = {}
        for i, (image, categories) in enumerate(classes.items()):
            for category in categories:
                for a, area in enumerate(parameters.areaRng):
                    place = (class_index[category] * num_areas + a) * num_images + i
                    found[place] = self.evaluateImg(image, category, area, limit)
        self.evalImgs = SparseList(len(class_index) * num_areas * num_images, found)
        self._paramsEval = copy.deepcopy(parameters)

    def evaluateImg(self, imgId, catId, aRng, maxDet):
        """Matches the detections of a class in an image. Same name, arguments and result as in pycocotools.

        Detections are processed by descending score. Each gets the unmatched object with the largest IoU.
        Ignored objects (crowd regions, or objects outside the range of areas) are used only if no other one
        is left.
        """
        objects = self._gts[imgId, catId]
        detections = best_first(self._dts[imgId, catId])[:maxDet]
        if not objects and not detections:
            return None
        ignored = np.array([bool(each["ignore"]) or _is_outside(each, aRng) for each in objects], bool)
        order = np.argsort(ignored, kind="stable")
        objects, ignored = [objects[i] for i in order], ignored[order]
        crowd = np.array([bool(each["iscrowd"]) for each in objects], bool)
        overlaps = np.zeros((len(detections), len(objects)))
        if overlaps.size:
            overlaps = self.ious[imgId, catId][: len(detections), order]
        matches = match_in_order(overlaps, ignored, crowd, self.params.iouThrs)  # [T, D]
        object_ids = np.array([each["id"] for each in objects] or [0])
        excused = np.array([each.get("is_excused") or _is_outside(each, aRng) for each in detections], bool)
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
            "gtIgnore": ignored.astype(int),
            "dtIgnore": np.where(is_matched, np.append(ignored, False)[matches], excused),
        }


class SparseList(Sequence):
    """A list in which nearly all items are None.

    Args:
        length: Number of items.
        items: Dict {index: item} of the items that are not None.
    """

    def __init__(self, length, items):
        self.length, self.items = length, items

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError(f"Expected an index below {self.length}. Received: {index}.")
        return self.items.get(index)


def best_first(detections):
    """Returns entries of a results file by descending score. Entries with equal scores keep their order."""
    order = np.argsort([-each["score"] for each in detections], kind="mergesort")
    return [detections[i] for i in order]


def _is_outside(each, area_range):
    return each["area"] < area_range[0] or each["area"] > area_range[1]


def match_in_order(overlaps, ignored, crowd, thresholds):
    """Matches each detection, in order, with the unmatched object with the largest IoU, by COCO's rules.

    Args:
        overlaps: `[D, G]`, IoU of detections and objects.
        ignored: `[G]` bool, objects that are ignored. They must come last.
        crowd: `[G]` bool, objects that may match any number of detections.
        thresholds: `[T]`, minimum IoU.

    Returns:
        `[T, D]` int, index of the matched object, or -1.
    """
    matches = np.full((len(thresholds), len(overlaps)), -1)
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((len(thresholds), len(crowd)), bool)
    num_regular = int((~ignored).sum())
    parts = [slice(*part) for part in ((0, num_regular), (num_regular, len(crowd))) if part[0] < part[1]]
    hopeful = overlaps.max(axis=1, initial=0) >= least.min(initial=1)
    for row in np.flatnonzero(hopeful):
        for part in parts:
            iou = overlaps[row, part][::-1]  # reversed: of objects with equal IoU, COCO takes the last one
            allowed = free[:, part][:, ::-1] & (iou >= least)
            best = part.stop - 1 - np.where(allowed, iou, -1).argmax(axis=1)
            found = allowed.any(axis=1) & (matches[:, row] < 0)
            matches[found, row] = best[found]
            free[found, best[found]] = crowd[best[found]]
    return matches
