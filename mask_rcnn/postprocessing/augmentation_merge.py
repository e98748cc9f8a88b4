"""Merges the detections of several views of an image (resized or mirrored) for test-time augmentation.

As in detectron2, all boxes go through one non-maximum suppression per class. A suppressed box is another view
of the kept object. The mask of an object is the mean of the masks of its views, and so are its keypoints.
Only `Detections` are needed, so this works for any model.

Letters: N detections of all views, V views in which an object was detected.
"""

from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.postprocessing.detection_merge import concatenate_detections, weighted_mask_vote
from mask_rcnn.postprocessing.paste import THRESHOLD
from mask_rcnn.postprocessing.uncertainty import AGREEMENT

SAME_BOX = 0.75  # IoU at which no correction is needed; the stricter one of COCO's AP50 and AP75


def merge_views(found, nms_iou, max_detections):
    """Returns the detections of an image, merged from those of several views.

    Args:
        found: List of `Detections` in the pixels of the image, one per view.
        nms_iou: Two boxes of a class with a larger IoU are the same object.
        max_detections: Maximum number of objects to return.

    Returns:
        `Detections`, sorted by score. Box, score and attributes of an object are those of its best view.
        Masks and keypoints are means over its views, weighted by their scores. The attribute "agreement" is
        the share of the other views that have the object, with an IoU of the boxes of `SAME_BOX` or more.
    """
    views = np.repeat(np.arange(len(found)), [len(each) for each in found])
    detections = concatenate_detections(found)
    groups = _suppress(detections, nms_iou, max_detections)
    groups = [group[np.sort(np.unique(views[group], return_index=True)[1])] for group in groups]
    kept = detections.keep([group[0] for group in groups])
    if kept.masks is not None and groups:
        masks, origins = zip(*(_mean_mask(detections, group) for group in groups), strict=True)
        kept = replace(kept, masks=masks, mask_origins=origins)
    if kept.keypoints is not None and groups:
        means = [
            np.average(detections.keypoints[group], axis=0, weights=_weights(detections, group))
            for group in groups
        ]
        kept = replace(kept, keypoints=np.stack(means))
    if len(found) > 1:
        agreement = [_agreement(detections, group, len(found)) for group in groups]
        kept = replace(kept, attributes={**kept.attributes, AGREEMENT: np.array(agreement, "float32")})
    return kept


def mirror_detections(detections, keypoint_order=None):
    """Returns the detections of a mirrored image as detections of the original image.

    Args:
        detections: `Detections`.
        keypoint_order: `[J]` int: for each keypoint, the keypoint that it becomes in the mirror, see
            `mirrored_order`. Defaults to None, for detections without keypoints.
    """
    width = detections.image_size[1]
    y1, x1, y2, x2 = detections.boxes.T
    fields = {"boxes": np.stack([y1, width - x2, y2, width - x1], axis=1)}
    if detections.masks is not None:
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
    left = np.argsort(-detections.scores, kind="stable")
    groups = []
    while len(left) and len(groups) < max_detections:
        best = left[0]
        iou = coco_mask.iou(xywh[left], xywh[best, None], [0])[:, 0]
        is_same = (iou > nms_iou) & (detections.class_ids[left] == detections.class_ids[best])
        is_same[0] = True  # a box without an area has an IoU of 0 with itself
        groups.append(left[is_same])
        left = left[~is_same]
    return groups


def _agreement(detections, group, num_views):
    """Returns the share of the views but its own that have the first box of a group."""
    xywh = _xywh(detections)[group]
    return (
        np.sum(coco_mask.iou(xywh[1:], xywh[:1], [0]) >= SAME_BOX) / (num_views - 1) if len(group) > 1 else 0
    )


def _xywh(detections):
    y1, x1, y2, x2 = detections.boxes.astype("float64").T
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)


def _mean_mask(detections, group):
    """Returns the pixels that at least half of the views contain, by weight, as a tuple (crop, (y, x))."""
    weights = _weights(detections, group)
    masks = [detections.masks[i] for i in group]
    return weighted_mask_vote(
        masks, detections.mask_origins[group], weights, np.float32(THRESHOLD) * weights.sum()
    )


def _weights(detections, group):
    """Returns the scores of the views of an object, `[V]` float32. Returns ones if all scores are 0."""
    scores = detections.scores[group]
    return scores if scores.any() else np.ones_like(scores)
