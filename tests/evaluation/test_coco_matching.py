"""Compares COCO's matching and precision with pycocotools, and Boundary AP with its definition."""

import numpy as np
import pytest
import report_scenes
from pycocotools.cocoeval import COCOeval
from report_scenes import CAT, DOG, coco_eval, evaluate, random_scene, results, truth

from mask_rcnn.data.masks import encode_mask, full_mask
from mask_rcnn.evaluation.coco_matching import VectorizedCOCOeval, match_in_order
from mask_rcnn.report.boundary import boundary_of, boundary_width


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_matches_are_those_of_pycocotools(seed, iou_type):
    annotations, entries = random_scene(seed)
    ours = coco_eval(annotations, entries, iou_type, VectorizedCOCOeval)
    theirs = coco_eval(annotations, entries, iou_type)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(ours.eval[name], theirs.eval[name])
    for one, other in zip(ours.evalImgs, theirs.evalImgs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one["gtIds"] == other["gtIds"]
            np.testing.assert_array_equal(one["dtMatches"], other["dtMatches"])
            np.testing.assert_array_equal(one["dtIgnore"], other["dtIgnore"])


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_precision_recall_curves_are_those_of_pycocotools(iou_type):
    annotations, entries = random_scene(7)
    theirs = coco_eval(annotations, entries, iou_type).eval["precision"][..., -1]
    found = evaluate(annotations, entries, iou_type)
    np.testing.assert_array_equal(found.precision, theirs)
    assert found.summary["AP"] == np.mean(theirs[..., 0][theirs[..., 0] > -1])


def test_of_equal_overlaps_the_last_object_is_taken_and_crowds_only_if_no_other_is_left():
    overlaps = np.array([[0.6, 0.6, 0.9], [0.6, 0.6, 0.9], [0.2, 0.2, 0.9], [0.2, 0.2, 0.9]])
    is_crowd = np.array([False, False, True])
    matches = match_in_order(
        overlaps, is_ignored=is_crowd, is_crowd=is_crowd, thresholds=np.array([0.5, 0.75])
    )
    assert matches.tolist() == [[1, 0, 2, 2], [2, 2, 2, 2]]


def test_only_the_best_detections_of_each_class_count():
    entries = results([((i, 0, 10, 10), DOG, i / 10) for i in range(1, 5)] + [((0, 0, 9, 9), CAT, 0.05)])
    found = evaluate(truth([((4, 0, 10, 10), DOG)]), entries, max_detections=2)
    assert sorted(found.entries.tolist()) == [2, 3, 4]


def brute_boundary(mask, width):
    """Returns the pixels of a mask that have a pixel outside it within `width` rows and columns."""
    padded = np.pad(mask, width)
    result = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        result[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return result


def blob(seed):
    """Returns a mask with holes and several parts that touches the edges of its image."""
    noise = np.random.default_rng(seed).random((40, 50))
    rows, columns = np.mgrid[:40, :50]
    disk = (rows - 12) ** 2 + (columns - 38) ** 2 < 15**2
    return (disk & (noise < 0.995)) | (columns < 9)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_boundary_is_that_of_the_definition(width):
    for mask in (blob(0), blob(1), np.ones((40, 50), bool), np.zeros((40, 50), bool)):
        found = full_mask(boundary_of(encode_mask(mask), width), 40, 50)
        np.testing.assert_array_equal(found, brute_boundary(mask, width))


def test_boundary_width_is_two_percent_of_the_diagonal_and_at_least_a_pixel():
    assert boundary_width((300, 400)) == 10
    assert boundary_width((10, 10)) == 1


class BruteBoundaryEval(COCOeval):
    """COCOeval with the minimum of mask IoU and boundary IoU."""

    def computeIoU(self, imgId, catId):
        ious = super().computeIoU(imgId, catId)
        objects = self._gts[imgId, catId]
        detections = sorted(self._dts[imgId, catId], key=lambda each: -each["score"])
        for i, one in enumerate(detections):
            for j, other in enumerate(objects):
                masks = [
                    full_mask(each["segmentation"], *each["segmentation"]["size"]) for each in (one, other)
                ]
                first, second = (brute_boundary(mask, 2) for mask in masks)
                union = first.sum() if other["iscrowd"] else (first | second).sum()
                ious[i][j] = min(ious[i][j], (first & second).sum() / union)
        return ious


def test_boundary_ap_is_that_of_the_definition():
    annotations, entries = random_scene(3, num_images=2, num_objects=8)
    assert boundary_width((report_scenes.HEIGHT, report_scenes.WIDTH)) == 2
    theirs = coco_eval(annotations, entries, "segm", BruteBoundaryEval).eval["precision"][..., -1]
    found = evaluate(annotations, entries, "boundary")
    np.testing.assert_allclose(found.precision, theirs, rtol=1e-12)
    assert 0 < found.summary["AP"] < evaluate(annotations, entries, "segm").summary["AP"]
