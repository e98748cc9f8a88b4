"""Merges the detections of several views of an image (resized or mirrored) for test-time augmentation.

As in detectron2, all boxes go through one non-maximum suppression per class. A suppressed box is another view
of the kept object. The mask of an object is the mean of the masks of its views, and so are its keypoints.
Only `Detections` are needed, so this works for any model.

Letters: N detections of all views, V views in which an object was detected.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.postprocessing.detection_merge import concatenate_detections, weighted_mask_vote
from mask_rcnn.postprocessing.paste import THRESHOLD
from mask_rcnn.postprocessing.uncertainty import AGREEMENT
from mask_rcnn.structures import Detections

SAME_BOX = 0.75  # IoU of boxes that need no correction; the stricter threshold of COCO's AP50 and AP75


def merge_views(views: Sequence[Detections], nms_iou: float, max_detections: int) -> Detections:
    """Returns the detections of an image, merged from those of several views.

    Args:
        views: List of `Detections` in the pixels of the image, one per view.
        nms_iou: Two boxes of a class with a larger IoU are the same object.
        max_detections: Maximum number of objects to return.

    Returns:
        `Detections`, sorted by score. Box, score and attributes of an object are those of its best view.
        Masks and keypoints are means over its views, weighted by their scores. The attribute "agreement" is
        the fraction of the other views that have the object, with an IoU of the boxes of `SAME_BOX` or more.
    """
    view_indices = np.repeat(np.arange(len(views)), [len(view) for view in views])
    detections = concatenate_detections(views)
    groups = _suppress(detections, nms_iou, max_detections)
    groups = [group[np.sort(np.unique(view_indices[group], return_index=True)[1])] for group in groups]
    kept = detections.select([group[0] for group in groups])
    if kept.masks is not None and groups:
        masks, origins = zip(*(_mean_mask(detections, group) for group in groups), strict=True)
        kept = replace(kept, masks=masks, mask_origins=origins)
    if detections.keypoints is not None and groups:
        means = [
            np.average(detections.keypoints[group], axis=0, weights=_weights(detections, group))
            for group in groups
        ]
        kept = replace(kept, keypoints=np.stack(means))
    if len(views) > 1:
        agreement = [_agreement(detections, group, len(views)) for group in groups]
        kept = replace(kept, attributes={**kept.attributes, AGREEMENT: np.array(agreement, "float32")})
    return kept


def mirror_detections(
    detections: Detections, keypoint_order: Sequence[int] | np.ndarray | None = None
) -> Detections:
    """Returns the detections of a mirrored image as detections of the original image.

    Args:
        detections: `Detections`.
        keypoint_order: `[J]` int: for each keypoint, the keypoint that it becomes in the mirror, see
            `mirrored_order`. Defaults to None, for detections without keypoints.
    """
    width = detections.image_size[1]
    y1, x1, y2, x2 = detections.boxes.T
    fields = {"boxes": np.stack([y1, width - x2, y2, width - x1], axis=1)}
    if detections.masks is not None and detections.mask_origins is not None:
        masks = tuple(mask[:, ::-1] for mask in detections.masks)
        widths = np.array([mask.shape[1] for mask in masks], int)
        top, left = detections.mask_origins.T
        fields |= {"masks": masks, "mask_origins": np.stack([top, width - left - widths], axis=1)}
    if detections.keypoints is not None:
        points = detections.keypoints[:, keypoint_order]
        fields["keypoints"] = np.concatenate([width - points[..., :1], points[..., 1:]], axis=-1)
    return replace(detections, **fields)


def _suppress(detections, nms_iou, max_detections):
    """Returns groups of detections of the same object: a list of index arrays, the best detection first.

    Args:
        detections: `Detections` of all views.
        nms_iou, max_detections: See `merge_views`.
    """
    xywh = _xywh(detections)
    remaining = np.argsort(-detections.scores, kind="stable")
    groups = []
    while len(remaining) and len(groups) < max_detections:
        best = remaining[0]
        iou = np.asarray(coco_mask.iou(xywh[remaining], xywh[best, None], [0]))[:, 0]
        is_same = (iou > nms_iou) & (detections.class_ids[remaining] == detections.class_ids[best])
        is_same[0] = True  # a box without an area has an IoU of 0 with itself
        groups.append(remaining[is_same])
        remaining = remaining[~is_same]
    return groups


def _agreement(detections, group, num_views):
    """Returns the fraction of the other views that have the first box of a group."""
    if len(group) < 2:
        return 0
    xywh = _xywh(detections)[group]
    return np.sum(np.asarray(coco_mask.iou(xywh[1:], xywh[:1], [0])) >= SAME_BOX) / (num_views - 1)


def _xywh(detections):
    y1, x1, y2, x2 = detections.boxes.astype("float64").T
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)


def _mean_mask(detections, group):
    """Returns the pixels that at least half of the views contain, by weight, as a tuple (crop, (y, x))."""
    weights = _weights(detections, group)
    masks = [detections.masks[i] for i in group]
    return weighted_mask_vote(
        masks, detections.mask_origins[group], weights, threshold=np.float32(THRESHOLD) * weights.sum()
    )


def _weights(detections, group):
    """Returns the scores of the views of an object, `[V]` float32. Returns ones if all scores are 0."""
    scores = detections.scores[group]
    return scores if scores.any() else np.ones_like(scores)
