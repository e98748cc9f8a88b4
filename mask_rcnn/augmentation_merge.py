"""The detections of several views of an image, larger, smaller or mirrored, become those of the image.

All boxes go through one non-maximum suppression for each class, as in detectron2. A box that is suppressed is
another view of the object that is kept. The mask of an object is the mean of the masks of its views, its
keypoints are the mean of theirs. So whatever model detected, the views need nothing but its `Detections`.

Letters: N detections of all views, V views that an object was found in.
"""

from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.detection_merge import concatenate, vote
from mask_rcnn.paste import THRESHOLD
from mask_rcnn.uncertainty import AGREEMENT

SAME_BOX = 0.75  # IoU at which no correction is needed; the stricter one of COCO's AP50 and AP75


def merge_views(found, nms_iou, max_detections):
    """Merges the detections of several views.

    Args:
        found: List of `Detections` in the pixels of the image, one for each view.
        nms_iou: Two boxes of a class with a larger IoU are the same object.
        max_detections: Most objects that are kept, the best first.

    Returns:
        `Detections`, best first. Box, score and attributes of an object are those of its best view. Masks and
        keypoints are means over its views, each with its score as weight. The attribute "agreement" is the
        share of the other views that have it, with an IoU of the boxes of `SAME_BOX` or more.
    """
    views = np.repeat(np.arange(len(found)), [len(each) for each in found])
    detections = concatenate(found)
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


def mirror(detections, keypoint_order=None):
    """Returns the detections of a mirrored image as those of the image.

    Args:
        detections: `Detections`.
        keypoint_order: `[J]` int, which keypoint stands in the place of each, see `mirrored_order`. Defaults
            to None, for detections without keypoints.
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
    """Returns the groups of detections that are one object each, indices with the best first.

    Args:
        detections, nms_iou, max_detections: As in `merge_views`; `detections` of all views.
    """
    xywh = _xywh(detections)
    left = np.argsort(-detections.scores, kind="stable")
    groups = []
    while len(left) and len(groups) < max_detections:
        best = left[0]
        iou = coco_mask.iou(xywh[left], xywh[best, None], [0])[:, 0]
        is_same = (iou > nms_iou) & (detections.class_ids[left] == detections.class_ids[best])
        is_same[0] = True  # also of a box without an area
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
    """Returns the pixels that half of the views of an object have, by weight, as (crop, (y, x))."""
    weights = _weights(detections, group)
    masks = [detections.masks[i] for i in group]
    return vote(masks, detections.mask_origins[group], weights, np.float32(THRESHOLD) * weights.sum())


def _weights(detections, group):
    """Returns the scores of the views of an object, `[V]` float32; ones if all are 0."""
    scores = detections.scores[group]
    return scores if scores.any() else np.ones_like(scores)
