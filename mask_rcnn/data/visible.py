"""What is left of objects that the edge of the image or another object cuts."""

from dataclasses import replace

import numpy as np

from mask_rcnn.data.masks import encode_mask, mask_extent, mask_in_window
from mask_rcnn.data.sample import IGNORE, OBJECT
from mask_rcnn.data.segmentations import mask_window, pixel_area

# An object of which a smaller share is visible is an ignored region: neither learned nor a negative, as
# benchmarks of pedestrians treat strongly occluded ones (Dollar et al. 2012, Pedestrian Detection). The share
# is our choice: so small that only objects are ignored that can hardly be told from background.
MIN_VISIBLE = 0.1
TOLERANCE = 1e-6  # pixels; rounding errors of matrices cut nothing


def kind_of_visible(kind, share):
    """Returns the kind of an object of which only a share is visible: `IGNORE` below `MIN_VISIBLE`."""
    return IGNORE if kind == OBJECT and share < MIN_VISIBLE else kind


def cut_to_window(sample, window, source, scale=1.0):
    """Clips objects to a window of the image; removes those outside, and ignores those hardly inside.

    Args:
        sample: a `Sample`.
        window: (y1, x1, y2, x2), pixels of its image.
        source: the `Sample` with the whole masks of the same objects: itself, or as it was before a change.
        scale: Factor of lengths from `source` to `sample`. Defaults to 1.

    Returns:
        A `Sample`. Boxes that are cut are those of the visible part of the mask. Keypoints outside of the
        window are unknown.
    """
    boxes = np.concatenate(
        [np.maximum(sample.boxes[:, :2], window[:2]), np.minimum(sample.boxes[:, 2:], window[2:])], axis=1
    )
    is_cut = (np.abs(boxes - sample.boxes) > TOLERANCE).any(axis=1)
    kinds = sample.kinds.copy()
    for index in np.flatnonzero(is_cut & _have_area(boxes)):
        box, segmentation = boxes[index], sample.segmentations[index]
        if segmentation:
            boxes[index], pixels = _visible_box(segmentation, box)
            whole = pixel_area(source.segmentations[index], source.image.shape[:2]) * scale**2
        else:
            pixels, whole = _area(box), _area(sample.boxes[index])
        kinds[index] = kind_of_visible(kinds[index], pixels / max(whole, 1))
    points, visibility = sample.keypoints[..., :2], sample.keypoints[..., 2:]
    is_inside = ((points >= window[:2]) & (points < window[2:])).all(axis=-1, keepdims=True)
    keypoints = np.concatenate([points, visibility * is_inside], axis=-1)
    cut = replace(sample, boxes=boxes, kinds=kinds, keypoints=keypoints)
    return cut.select(np.flatnonzero(_have_area(boxes)))


def cover(sample, mask):
    """Covers a part of the image: cuts the objects there, removes hidden ones, ignores hardly visible ones.

    Args:
        sample: a `Sample` without a geometric change that is still to be made.
        mask: `[H, W]` bool, what is covered.

    Returns:
        A `Sample` with the same image. Masks that are cut are run lengths. Keypoints that are covered are
        labeled but not visible (COCO's visibility 1).
    """
    size = sample.image.shape[:2]
    boxes, kinds, areas = sample.boxes.copy(), sample.kinds.copy(), sample.areas.copy()
    segmentations, shares = list(sample.segmentations), np.ones(len(boxes))
    for index, segmentation in enumerate(segmentations):
        window = mask_window(segmentation, size) if segmentation else _pixels_of(boxes[index])
        covered = mask[window[0] : window[2], window[1] : window[3]]
        whole = mask_in_window(segmentation, window) if segmentation else np.ones(covered.shape, bool)
        visible = whole & ~covered
        num_pixels, num_visible = np.count_nonzero(whole), np.count_nonzero(visible)
        if num_pixels == num_visible:
            continue
        shares[index] = num_visible / num_pixels
        kinds[index] = kind_of_visible(kinds[index], shares[index])
        areas[index] *= shares[index]
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
    return covered.select(np.flatnonzero(shares > 0))


def _visible_box(segmentation, box):
    """Returns the box of the part of a mask that is inside of `box`, to a pixel, and its pixels.

    Where there is none, the box has no area.
    """
    window = _pixels_of(box)
    if isinstance(segmentation, dict):  # rounding errors may have moved the box beyond the image
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
