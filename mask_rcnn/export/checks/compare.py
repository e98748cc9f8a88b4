"""Compares the detections of two models in the same image."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mask_rcnn.export.runners.outputs import DETECTION_OUTPUTS, Outputs, without_padding
from mask_rcnn.postprocessing.paste import THRESHOLD

SAME_BOX = 0.5  # lowest IoU of two boxes of a class that count as the same detection
# Lowest score of a detection that both models must have. Below it, small numerical differences decide.
MIN_COMPARED_SCORE = 0.3


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest allowed differences between an exported model and the Keras model.

    Args:
        boxes: Difference of a coordinate, pixels of the image.
        scores: Difference of a score, 0..1.
        masks: Difference of a mask probability, 0..1.
        outlines: 1 - IoU of two masks on their grid, 0..1.
        keypoints: Difference of a coordinate, pixels of the image.
        attributes: Difference of an output of a registered head, divided by its value or by 1, whichever is
            larger.
        mismatches: Fraction of the detections that may differ by more, or that only one model may have, 0..1.
            It is estimated for images like those compared, see `confidence_bounds.estimate_fraction`. 0.0
            allows none.
        least_score: Lowest score of the detections that are compared, 0..1.
    """

    boxes: float
    scores: float
    masks: float
    outlines: float
    keypoints: float
    attributes: float
    mismatches: float
    least_score: float


# The same operations in the same precision.
EXACT = Tolerance(
    boxes=1e-3,
    scores=1e-5,
    masks=1e-4,
    outlines=0.02,
    keypoints=1e-3,
    attributes=1e-4,
    mismatches=0.0,
    least_score=0.0,
)
# Convolutions of 8 (bfloat16) or 11 significant bits (float16) move most detections of high score little.
# A probability at a mask's edge may take any value, but the edge itself moves little.
HALF = Tolerance(
    boxes=6.0,
    scores=0.1,
    masks=1.0,
    outlines=0.2,
    keypoints=6.0,
    attributes=0.1,
    mismatches=0.1,
    least_score=MIN_COMPARED_SCORE,
)
DIFFERENCES = ("boxes", "scores", "masks", "outlines", "keypoints", "attributes")


def compare(
    expected: Outputs, found: Outputs, *, image_size: tuple[int, int], tolerance: Tolerance
) -> dict[str, Any]:
    """Compares the outputs of two models for one image.

    Args:
        expected: Outputs of the reference model, `{name: array}`, as a runner returns them.
        found: Outputs of the other model, in the same form.
        image_size: (height, width) of the image, pixels.
        tolerance: Largest allowed differences.

    Returns:
        Dict of:

        - `expected`, `found`: number of detections of each model.
        - `matched`: number of detections that both models have and that are compared.
        - `moved`: number of these that differ by more than the tolerance.
        - `missing`: number of detections from score MIN_COMPARED_SCORE that only the reference model has.
        - `added`: number of detections from score MIN_COMPARED_SCORE that only the other model has.
        - `boxes`, `scores`, `masks`, `outlines`, `keypoints`, `attributes`: largest difference, in the units
          of `Tolerance`. NaN if one of the differences is NaN, 0.0 without detections.
    """
    expected, found = without_padding(expected), without_padding(found)
    pairs = match_detections(expected, found)
    missing, added = _count_unmatched(expected, pairs[0]), _count_unmatched(found, pairs[1])
    compared = expected["detection_scores"][pairs[0]] >= tolerance.least_score
    expected_rows = {name: values[pairs[0][compared]] for name, values in expected.items()}
    found_rows = {name: values[pairs[1][compared]] for name, values in found.items()}
    differences = _differences(expected_rows, found_rows, image_size)
    is_within = [differences[name] <= getattr(tolerance, name) for name in DIFFERENCES]  # False for NaN
    return {
        "expected": len(expected["detection_scores"]),
        "found": len(found["detection_scores"]),
        "matched": int(compared.sum()),
        "moved": int(np.sum(~np.all(is_within, axis=0))),
        "missing": missing,
        "added": added,
        **{name: float(np.max(values, initial=0.0)) for name, values in differences.items()},
    }


def match_detections(expected: Outputs, found: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Pairs the detections of two models: same class, highest IoU first, each detection at most once.

    Args:
        expected, found: `{name: array}` without padding rows.

    Returns:
        Two int arrays of the same length: indices into `expected` and into `found`.
    """
    iou = _iou(expected["detection_boxes"], found["detection_boxes"])  # [expected, found]
    same_class = expected["detection_classes"][:, None] == found["detection_classes"]
    iou = np.where(same_class, iou, 0.0)
    pairs = []
    while iou.size and iou.max() >= SAME_BOX:
        pair = np.unravel_index(iou.argmax(), iou.shape)
        pairs.append(pair)
        iou[pair[0]], iou[:, pair[1]] = 0.0, 0.0
    pairs = np.array(pairs, int).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _iou(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns the IoU of each pair of boxes, yxyx: `[N, 4]` and `[M, 4]` to `[N, M]`."""
    expected, found = expected[:, None].astype("float64"), found[None].astype("float64")
    sides = np.minimum(expected[..., 2:], found[..., 2:]) - np.maximum(expected[..., :2], found[..., :2])
    intersection = np.prod(np.maximum(sides, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (expected, found)]
    return intersection / np.maximum(areas[0] + areas[1] - intersection, np.finfo("float64").tiny)


def _count_unmatched(outputs: Outputs, matched: np.ndarray) -> int:
    """Returns the number of detections from score MIN_COMPARED_SCORE whose index is not in `matched`."""
    scores = np.delete(outputs["detection_scores"], matched)
    return int(np.sum(scores >= MIN_COMPARED_SCORE))


def _differences(expected: Outputs, found: Outputs, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Returns the largest differences of each pair, `{name: [N]}`; zeros for outputs that the models lack.

    Args:
        expected, found: Outputs of N matched detections, in the same order.
        image_size: (height, width) of the image, pixels.
    """
    num_pairs = len(expected["detection_scores"])
    height_width = np.tile(np.array(image_size, "float64"), 2)

    def largest(name: str, scale: np.ndarray | float = 1.0) -> np.ndarray:
        if name not in expected:
            return np.zeros(num_pairs)
        distance = np.abs(expected[name] - found[name].astype("float64")) * scale
        return distance.max(axis=tuple(range(1, distance.ndim)), initial=0.0)

    return {
        "boxes": largest("detection_boxes", height_width),
        "scores": largest("detection_scores"),
        "masks": largest("detection_masks"),
        "outlines": _outline_differences(expected, found),
        "keypoints": largest("detection_keypoints", height_width[:2]),
        "attributes": _attribute_differences(expected, found),
    }


def _attribute_differences(expected: Outputs, found: Outputs) -> np.ndarray:
    """Returns the largest relative difference of the registered heads' outputs, `[N]`.

    It is infinite if `found` lacks an output.
    """
    num_pairs = len(expected["detection_scores"])
    differences = np.zeros(num_pairs)
    for name in expected.keys() - DETECTION_OUTPUTS:
        if name not in found:
            return np.full(num_pairs, np.inf)
        reference, actual = expected[name].astype("float64"), found[name].astype("float64")
        distance = np.abs(reference - actual) / np.maximum(np.abs(reference), 1.0)
        largest = distance.max(axis=tuple(range(1, distance.ndim)), initial=0.0)
        differences = np.maximum(differences, largest)
    return differences


def _outline_differences(expected: Outputs, found: Outputs) -> np.ndarray:
    """Returns 1 - IoU of each pair of masks, on the grid inside their boxes, `[N]`."""
    if "detection_masks" not in expected:
        return np.zeros(len(expected["detection_scores"]))
    masks = [outputs["detection_masks"] >= THRESHOLD for outputs in (expected, found)]  # [N, M, M] each
    union = np.sum(masks[0] | masks[1], axis=(1, 2))
    return np.sum(masks[0] != masks[1], axis=(1, 2)) / np.maximum(union, 1)
