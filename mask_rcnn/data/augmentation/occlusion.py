"""Updates objects that are cut by the edge of the image or covered by other objects."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mask_rcnn.data.augmentation.sample import IGNORE, OBJECT, Sample
from mask_rcnn.data.masks import encode_mask, mask_extent, mask_in_window
from mask_rcnn.data.segmentations import mask_window, pixel_area

# An object with a smaller visible fraction becomes an ignored region, neither a positive nor a negative.
# Pedestrian benchmarks treat strongly occluded pedestrians in this way (Dollar et al. 2012, Pedestrian
# Detection). The value is our choice. It is small, so that only objects are ignored that hardly differ from
# the background.
MIN_VISIBLE = 0.1
TOLERANCE = 1e-6  # pixels, so that rounding errors of matrices do not count as a cut


def kind_of_visible(kind: int, visible_fraction: float) -> int:
    """Returns the kind of a partly visible object: `IGNORE` below a visible fraction of `MIN_VISIBLE`."""
    return IGNORE if kind == OBJECT and visible_fraction < MIN_VISIBLE else kind


def cut_to_window(
    sample: Sample, window: Sequence[float] | np.ndarray, source: Sample, *, scale: float = 1.0
) -> Sample:
    """Clips objects to a window of the image. Objects outside are removed, barely visible ones are ignored.

    Args:
        sample: `Sample`.
        window: (y1, x1, y2, x2), in pixels of its image.
        source: `Sample` with the complete masks of the same objects: `sample` itself, or the sample before a
            geometric change.
        scale: Scale factor of lengths from `source` to `sample`. Defaults to 1.

    Returns:
        A `Sample`. The box of a clipped object is the box of the visible part of its mask. Keypoints outside
        of the window get visibility 0.
    """
    boxes = np.concatenate(
        [np.maximum(sample.boxes[:, :2], window[:2]), np.minimum(sample.boxes[:, 2:], window[2:])], axis=1
    )
    is_cut = (np.abs(boxes - sample.boxes) > TOLERANCE).any(axis=1)
    kinds = sample.kinds.copy()
    for index in np.flatnonzero(is_cut & _have_area(boxes)):
        box, segmentation = boxes[index], sample.segmentations[index]
        complete_mask = source.segmentations[index]
        if segmentation and complete_mask:
            boxes[index], pixels = _visible_box(segmentation, box)
            total = pixel_area(complete_mask, source.image.shape[:2]) * scale**2
        else:
            pixels, total = _area(box), _area(sample.boxes[index])
        kinds[index] = kind_of_visible(kinds[index], pixels / max(total, 1))
    points, visibility = sample.keypoints[..., :2], sample.keypoints[..., 2:]
    is_inside = ((points >= window[:2]) & (points < window[2:])).all(axis=-1, keepdims=True)
    keypoints = np.concatenate([points, visibility * is_inside], axis=-1)
    cut = replace(sample, boxes=boxes, kinds=kinds, keypoints=keypoints)
    return cut.select(np.flatnonzero(_have_area(boxes)))


def cover(sample: Sample, mask: np.ndarray) -> Sample:
    """Covers a part of the image and updates the objects there.

    Hidden objects are removed, and barely visible ones are ignored.

    Args:
        sample: `Sample` without a pending geometric change.
        mask: `[H, W]` bool, the covered pixels.

    Returns:
        A `Sample` with the same image. Masks that lose pixels become run lengths. Covered keypoints become
        labeled but not visible (COCO's visibility 1).
    """
    size = sample.image.shape[:2]
    boxes, kinds, areas = sample.boxes.copy(), sample.kinds.copy(), sample.areas.copy()
    segmentations, visible_fractions = list(sample.segmentations), np.ones(len(boxes))
    for index, segmentation in enumerate(segmentations):
        window = mask_window(segmentation, size) if segmentation else _pixels_of(boxes[index])
        covered = mask[window[0] : window[2], window[1] : window[3]]
        object_mask = mask_in_window(segmentation, window) if segmentation else np.ones(covered.shape, bool)
        visible = object_mask & ~covered
        num_pixels, num_visible = np.count_nonzero(object_mask), np.count_nonzero(visible)
        if num_pixels == num_visible:
            continue
        visible_fractions[index] = num_visible / num_pixels
        kinds[index] = kind_of_visible(kinds[index], visible_fractions[index])
        areas[index] *= visible_fractions[index]
        if segmentation and num_visible:
            segmentations[index] = encode_mask(visible, window[:2].tolist(), size)
            boxes[index] = mask_extent(visible) + np.tile(window[:2], 2)
    rows, columns = np.moveaxis(sample.keypoints[..., :2].astype(int), -1, 0)
    is_inside = (rows >= 0) & (columns >= 0) & (rows < size[0]) & (columns < size[1])
    is_covered = is_inside & mask[rows * is_inside, columns * is_inside]
    keypoints = sample.keypoints.copy()
    keypoints[..., 2] = np.where(is_covered, np.minimum(keypoints[..., 2], 1), keypoints[..., 2])
    covered = replace(
        sample,
        boxes=boxes,
        kinds=kinds,
        areas=areas,
        segmentations=tuple(segmentations),
        keypoints=keypoints,
    )
    return covered.select(np.flatnonzero(visible_fractions > 0))


def _visible_box(segmentation, box):
    """Returns the box of the part of a mask inside `box`, and the number of its pixels.

    If there is no such part, the box has no area.
    """
    window = _pixels_of(box)
    if isinstance(segmentation, dict):  # rounding errors may move the box slightly beyond the image
        window = np.clip(window, 0, np.tile(segmentation["size"], 2))
    mask = mask_in_window(segmentation, window)
    tight = mask_extent(mask)
    if not tight.any():
        return tight, 0
    tight += np.tile(window[:2], 2)
    clipped = np.concatenate([np.maximum(tight[:2], box[:2]), np.minimum(tight[2:], box[2:])])
    return clipped, np.count_nonzero(mask)


def _have_area(boxes):
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)


def _area(box):
    return np.prod(box[2:] - box[:2])


def _pixels_of(box):
    """Returns the window of whole pixels that a box touches, `[4]` int."""
    return np.concatenate([np.floor(box[:2]), np.ceil(box[2:])]).astype(int)
