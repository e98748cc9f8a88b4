"""Fits anchor sizes and ratios to the boxes of a data set: Lloyd's algorithm with the distance 1 - IoU.

The method follows YOLO9000 (Redmon and Farhadi, 2017, section 2), with two differences. The anchors of a
pyramid are all combinations of some sizes and ratios. A box is compared with anchors at their actual grid
positions, because small anchors on a coarse grid miss most objects.
"""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.config import AnchorConfig
from mask_rcnn.ops.anchors import base_anchors

GOOD_IOU = 0.5  # of the best anchor; below it, the box regression starts far from the object
MAX_BOXES = 5_000  # number of boxes for the fit, spread over the data set
ITERATIONS = 20
FACTORS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 1.5)  # the search starts from sizes of the config times these


def strides_of(anchors: AnchorConfig) -> tuple[int, ...]:
    """Returns the stride for each size of an `AnchorConfig`, in pixels."""
    return anchors.strides if len(anchors.strides) > 1 else anchors.strides * len(anchors.sizes)


def anchor_ious(
    boxes: np.ndarray,
    *,
    sizes: Sequence[float] | np.ndarray,
    ratios: Sequence[float] | np.ndarray,
    strides: Sequence[int],
) -> np.ndarray:
    """Returns the IoU of boxes with the anchors at the grid cell closest to their center.

    Args:
        boxes: `[N, 4]` (y1, x1, y2, x2), pixels of the resized image.
        sizes: L anchor sizes, one per pyramid level, in pixels.
        ratios: R ratios, height / width.
        strides: L distances between grid cells, in pixels. Cell (0, 0) is at pixel 0.

    Returns:
        `[N, L, R]` float64.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)[:, None]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    levels = []
    for size, stride in zip(sizes, strides, strict=True):
        base = base_anchors(size, ratios)  # [R, 4]
        cells = np.round(centers / stride) * stride
        placed = base + np.tile(cells, 2)[:, None]  # [N, R, 4]
        top_left = np.maximum(boxes[:, None, :2], placed[..., :2])
        common = np.maximum(np.minimum(boxes[:, None, 2:], placed[..., 2:]) - top_left, 0).prod(axis=-1)
        union = areas + (base[:, 2:] - base[:, :2]).prod(axis=-1) - common
        levels.append(common / union)
    return np.stack(levels, axis=1)


def fit_anchors(boxes: np.ndarray, anchors: AnchorConfig) -> tuple[tuple, tuple]:
    """Returns anchor sizes and ratios that fit boxes, as many of each as a config has.

    The result is from the iteration with the best score. The score is the mean IoU of the best anchors, plus
    the fraction of boxes with an IoU of at least `GOOD_IOU`.

    Args:
        boxes: `[N, 4]` (y1, x1, y2, x2), N > 0, pixels of the resized image.
        anchors: `AnchorConfig`.

    Returns:
        Tuple of
        sizes: Tuple of distinct ints, ascending.
        ratios: Tuple of distinct floats, ascending.
    """
    boxes = boxes[:: -(-len(boxes) // MAX_BOXES)]
    strides = strides_of(anchors)
    starts = [(np.multiply(anchors.sizes, factor), np.array(anchors.ratios)) for factor in FACTORS]
    fits = [_lloyd(boxes, sizes, ratios, strides=strides) for sizes, ratios in starts]
    _, sizes, ratios = max(fits, key=lambda fit: fit[0])
    return _distinct(sizes, 0), _distinct(ratios, 2)


def _lloyd(boxes, sizes, ratios, *, strides):
    """Returns score, sizes and ratios of the best iteration."""
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    best = (0.0, sizes, ratios)
    for _ in range(ITERATIONS):
        ious = anchor_ious(boxes, sizes=sizes, ratios=ratios, strides=strides).reshape(
            len(boxes), -1
        )  # [N, L * R]
        nearest, largest = ious.argmax(axis=1), ious.max(axis=1)
        score = float(largest.mean() + (largest >= GOOD_IOU).mean())
        if score > best[0]:
            best = (score, sizes, ratios)
        sizes = _medians(np.sqrt(heights * widths), nearest // len(ratios), sizes)
        ratios = _medians(heights / widths, nearest % len(ratios), ratios)
    return best


def _medians(values, groups, old):
    """Returns the median of each group of values, or the old value for an empty group."""
    return np.array(
        [np.median(values[groups == k]) if (groups == k).any() else old[k] for k in range(len(old))]
    )


def _distinct(values, decimals):
    """Returns ascending, rounded, distinct values. Equal values are raised by one unit of the last digit."""
    step = 10.0**-decimals
    result = []
    for value in np.sort(values):
        value = max(round(float(value), decimals), step)
        if result and value <= result[-1]:
            value = round(result[-1] + step, decimals)
        result.append(int(value) if decimals == 0 else value)
    return tuple(result)
