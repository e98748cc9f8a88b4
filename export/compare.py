"""Two models on the same image: which detections are the same, and by how much they differ."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.export.outputs import WORDS, without_padding
from mask_rcnn.paste import THRESHOLD

SAME_BOX = 0.5  # IoU from which two boxes of a class may be the same detection
SURE = 0.3  # score from which a detection may not come or go; below, small differences decide


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far an exported model may be from the Keras model.

    Args:
        boxes: pixels of the image.
        scores: 0..1.
        masks: of a probability.
        outlines: 1 - IoU of the masks on their grid.
        keypoints: pixels of the image.
        attributes: of an output of a registered head, as a part of its number, or of 1 if that is less.
        strays: share of the detections that may differ by more, or be on one side only, in images like those
            that are compared; see `agreement.share_of`. 0.0 allows none.
        least_score: of the detections whose numbers are compared.
    """

    boxes: float
    scores: float
    masks: float
    outlines: float
    keypoints: float
    attributes: float
    strays: float
    least_score: float


# The same operations in the same precision.
EXACT = Tolerance(
    boxes=1e-3,
    scores=1e-5,
    masks=1e-4,
    outlines=0.02,
    keypoints=1e-3,
    attributes=1e-4,
    strays=0.0,
    least_score=0.0,
)
# Convolutions of 8 (bfloat16) or 11 bits (float16): most sure detections stay where they are, more or less.
# At a mask's edge a probability can become anything, but the edge moves little.
HALF = Tolerance(
    boxes=6.0,
    scores=0.1,
    masks=1.0,
    outlines=0.2,
    keypoints=6.0,
    attributes=0.1,
    strays=0.1,
    least_score=SURE,
)
DIFFERENCES = ("boxes", "scores", "masks", "outlines", "keypoints", "attributes")


def compare(expected, found, image_size, tolerance):
    """Compares what two models say of one image.

    Args:
        expected, found: outputs of a runner, `{name: array}`.
        image_size: (height, width).
        tolerance: `Tolerance`.

    Returns:
        A dict: `expected`, `found`: numbers of detections; `missing` and `added`: those of a score from SURE
        on that only one side has; `matched`: how many are on both sides and compared; `moved`: how many of
        these differ by more than the tolerance; and their largest differences, NaN where one is that, 0.0
        where there are none: `boxes` in pixels of the image, `scores`, `masks` (of a probability),
        `outlines` (1 - IoU of the masks), `keypoints` in pixels, `attributes` relative to their numbers.
    """
    expected, found = without_padding(expected), without_padding(found)
    ours, theirs = match(expected, found)
    missing, added = _sure_and_alone(expected, ours), _sure_and_alone(found, theirs)
    compared = expected["detection_scores"][ours] >= tolerance.least_score
    differences = _differences(expected, found, ours[compared], theirs[compared], image_size)
    kept = [differences[name] <= getattr(tolerance, name) for name in DIFFERENCES]  # NaN is not
    return {
        "expected": len(expected["detection_scores"]),
        "found": len(found["detection_scores"]),
        "matched": int(compared.sum()),
        "moved": int(np.sum(~np.all(kept, axis=0))),
        "missing": missing,
        "added": added,
        **{name: float(np.max(values, initial=0.0)) for name, values in differences.items()},
    }


def match(expected, found):
    """Pairs the detections of two models: same class, the closest box first, each at most once.

    Args:
        expected, found: `{name: array}` without padding.

    Returns:
        Two index arrays of the same length.
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


def _iou(boxes, others):
    """`[N, 4]` and `[M, 4]` yxyx to `[N, M]`."""
    boxes, others = boxes[:, None].astype("float64"), others[None].astype("float64")
    overlap = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    shared = np.prod(np.maximum(overlap, 0), axis=-1)
    areas = [np.prod(each[..., 2:] - each[..., :2], axis=-1) for each in (boxes, others)]
    return shared / np.maximum(areas[0] + areas[1] - shared, np.finfo("float64").tiny)


def _sure_and_alone(outputs, matched):
    alone = np.delete(outputs["detection_scores"], matched)
    return int(np.sum(alone >= SURE))


def _differences(expected, found, ours, theirs, image_size):
    """Returns `{name: [N]}` of the pairs, zeros for what the models do not have."""
    height_width = np.tile(np.array(image_size, "float64"), 2)

    def largest(name, scale=1.0):
        if name not in expected:
            return np.zeros(len(ours))
        distance = np.abs(expected[name][ours] - found[name][theirs].astype("float64")) * scale
        return distance.max(axis=tuple(range(1, distance.ndim)), initial=0.0)

    return {
        "boxes": largest("detection_boxes", height_width),
        "scores": largest("detection_scores"),
        "masks": largest("detection_masks"),
        "outlines": _outline_differences(expected, found, ours, theirs),
        "keypoints": largest("detection_keypoints", height_width[:2]),
        "attributes": _attribute_differences(expected, found, ours, theirs),
    }


def _attribute_differences(expected, found, ours, theirs):
    """Largest relative difference of the outputs of registered heads; infinite for one that is missing."""
    differences = np.zeros(len(ours))
    for name in expected.keys() - WORDS:
        if name not in found:
            return np.full(len(ours), np.inf)
        one = expected[name][ours].astype("float64").reshape(len(ours), -1)
        other = found[name][theirs].astype("float64").reshape(len(ours), -1)
        distance = np.abs(one - other) / np.maximum(np.abs(one), 1.0)
        differences = np.maximum(differences, distance.max(axis=1, initial=0.0))
    return differences


def _outline_differences(expected, found, ours, theirs):
    """1 - IoU of the masks, on the grid in their boxes."""
    if "detection_masks" not in expected:
        return np.zeros(len(ours))
    one = expected["detection_masks"][ours] >= THRESHOLD  # [N, M, M]
    other = found["detection_masks"][theirs] >= THRESHOLD
    either = np.sum(one | other, axis=(1, 2))
    return np.sum(one != other, axis=(1, 2)) / np.maximum(either, 1)
