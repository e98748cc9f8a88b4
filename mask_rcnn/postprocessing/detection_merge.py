"""Functions that merge the detections of several tiles or views of one image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mask_rcnn.structures import Detections, smallest_crop


def concatenate_detections(parts: Sequence[Detections]) -> Detections:
    """Returns one `Detections` with the rows of all `parts`, a list of `Detections` of one image."""
    first = parts[0]
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("boxes", "scores", "class_ids", "mask_origins", "keypoints")
        if getattr(first, name) is not None
    }
    masks = None if first.masks is None else tuple(mask for part in parts for mask in part.masks or ())
    attributes = {
        name: np.concatenate([part.attributes[name] for part in parts]) for name in first.attributes
    }
    return replace(first, **fields, masks=masks, attributes=attributes)


def weighted_mask_vote(
    masks: Sequence[np.ndarray], origins: np.ndarray, weights: np.ndarray, *, threshold: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the pixels that at least `threshold` of several masks contain, by weight.

    Args:
        masks: List of M crops `[h, w]` bool.
        origins: `[M, 2]` int, (y, x) of the first pixel of each crop in the image.
        weights: `[M]`, weight of each mask.
        threshold: Minimum sum of weights of a pixel, above 0.

    Returns:
        Tuple of the smallest crop `[h, w]` bool that contains these pixels, and (y, x) of its first pixel.
        The crop is empty if there are none.
    """
    first = origins.min(axis=0)
    last = np.max([origin + mask.shape for mask, origin in zip(masks, origins, strict=True)], axis=0)
    total = np.zeros(last - first, weights.dtype)
    for mask, (y, x), weight in zip(masks, origins - first, weights, strict=True):
        total[y : y + mask.shape[0], x : x + mask.shape[1]] += mask * weight
    return smallest_crop(total >= threshold, first)
