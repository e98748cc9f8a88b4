"""Two models on the same image: which detections are the same, and by how much they differ."""

import numpy as np

from mask_rcnn.export.outputs import without_padding
from mask_rcnn.paste import THRESHOLD

SAME_BOX = 0.5  # IoU from which two boxes of a class may be the same detection
SURE = 0.3  # score from which a detection may not come or go; below, small differences decide


def compare(expected, found, image_size, least_score=0.0):
    """Compares what two models say of one image.

    Args:
        expected, found: outputs of a runner, `{name: array}`.
        image_size: (height, width).
        least_score: of the expected detections whose numbers are compared.

    Returns:
        A dict: `expected`, `found`: numbers of detections; `missing` and `added`: those of a score from SURE
        on that only one side has; `matched`: how many are on both sides and compared, and their largest
        differences, NaN where one is that, 0.0 where there are none: `boxes` in pixels of the image,
        `scores`, `masks` (of a probability), `outlines` (1 - IoU of the masks), `keypoints` in pixels.
    """
    expected, found = without_padding(expected), without_padding(found)
    ours, theirs = match(expected, found)
    missing, added = _sure_and_alone(expected, ours), _sure_and_alone(found, theirs)
    compared = expected["detection_scores"][ours] >= least_score
    ours, theirs = ours[compared], theirs[compared]
    height_width = np.tile(np.array(image_size, "float64"), 2)
    return {
        "expected": len(expected["detection_scores"]),
        "found": len(found["detection_scores"]),
        "matched": len(ours),
        "missing": missing,
        "added": added,
        "boxes": _difference(expected, found, "detection_boxes", ours, theirs, height_width),
        "scores": _difference(expected, found, "detection_scores", ours, theirs),
        "masks": _difference(expected, found, "detection_masks", ours, theirs),
        "outlines": _outline_difference(expected, found, ours, theirs),
        "keypoints": _difference(expected, found, "detection_keypoints", ours, theirs, height_width[:2]),
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


def _difference(expected, found, name, ours, theirs, scale=1.0):
    if name not in expected or not len(ours):
        return 0.0
    return float(np.max(np.abs(expected[name][ours] - found[name][theirs].astype("float64")) * scale))


def _outline_difference(expected, found, ours, theirs):
    """1 - IoU of the masks, on the grid in their boxes."""
    if "detection_masks" not in expected or not len(ours):
        return 0.0
    one = expected["detection_masks"][ours] >= THRESHOLD  # [N, M, M]
    other = found["detection_masks"][theirs] >= THRESHOLD
    either = np.sum(one | other, axis=(1, 2))
    return float(np.max(np.sum(one != other, axis=(1, 2)) / np.maximum(either, 1)))
