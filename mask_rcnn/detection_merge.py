"""What merges the detections of several parts or views of an image."""

from dataclasses import replace

import numpy as np

from mask_rcnn.structures import smallest_crop


def concatenate(parts):
    """Returns one `Detections` of several, all of one image."""
    first = parts[0]
    fields = {"boxes": None, "scores": None, "class_ids": None, "mask_origins": None, "keypoints": None}
    for name in fields:
        if getattr(first, name) is not None:
            fields[name] = np.concatenate([getattr(each, name) for each in parts])
    masks = None if first.masks is None else tuple(mask for each in parts for mask in each.masks)
    attributes = {
        name: np.concatenate([each.attributes[name] for each in parts]) for name in first.attributes
    }
    return replace(first, **fields, masks=masks, attributes=attributes)


def vote(masks, origins, weights, threshold):
    """Combines masks, each a crop of the image: a pixel counts the weights of the masks that have it.

    Args:
        masks: M crops `[h, w]` bool.
        origins: `[M, 2]` int, (y, x) of the first pixel of each crop in the image.
        weights: `[M]`, of each mask.
        threshold: Least sum of weights of a pixel that is kept, above 0.

    Returns:
        The smallest crop `[h, w]` bool that holds the pixels that are kept, and the (y, x) of its first
        pixel. It has no pixel if none is kept.
    """
    first = origins.min(axis=0)
    last = np.max([origin + mask.shape for mask, origin in zip(masks, origins, strict=True)], axis=0)
    total = np.zeros(last - first, weights.dtype)
    for mask, (y, x), weight in zip(masks, origins - first, weights, strict=True):
        total[y : y + mask.shape[0], x : x + mask.shape[1]] += mask * weight
    return smallest_crop(total >= threshold, first)
