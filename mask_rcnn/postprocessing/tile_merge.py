"""Merges the detections of overlapping tiles, so that each object of the image is detected once.

An object that a tile cuts is also detected in the next tile. Two detections of a class are the same object if

- their masks agree in the overlap of their tiles: the IoU of the two parts is above `MIN_AGREEMENT`;
- or one is cut by its tile, and the other covers more than `MIN_AGREEMENT` of its part in the overlap. The
  score of the other must be at least `MIN_SCORE_RATIO` times its score. Otherwise noise could connect two
  neighbors.

Masks of different objects hardly overlap, so no mask agrees with two of them. Detections that are connected
by such pairs form one object. If a tile contains the whole object, the best detection of such a tile is kept
unchanged. Otherwise the result is the union of all parts.

Letters: T tiles, N detections, P pairs, h w crop.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mask_rcnn.postprocessing.detection_merge import concatenate_detections, weighted_mask_vote
from mask_rcnn.structures import Detections

MIN_AGREEMENT = 0.5
MIN_SCORE_RATIO = 0.5
CUT_MARGIN = 0.01  # fraction of the side of a tile; a box that ends closer to the border counts as cut


def merge_tiles(
    tiles: Sequence[Detections], windows: np.ndarray | Sequence[Sequence[int]], image_size: tuple[int, int]
) -> Detections:
    """Returns the detections of an image, merged from those of its tiles.

    Args:
        tiles: List of T `Detections`, each in the pixels of its tile.
        windows: `[T, 4]` int, yxyx, the tiles. The window of the whole image may be one of them.
        image_size: (height, width) of the image.

    Returns:
        `Detections` of the image, sorted by score. A merged object has the highest score of its parts. A
        union has the bounding box of its mask, and the keypoints and attributes of its best part.
    """
    windows = np.asarray(windows)
    moved = [_move(tile, window, image_size) for tile, window in zip(tiles, windows, strict=True)]
    tile_indices = np.repeat(np.arange(len(moved)), [len(tile) for tile in moved])
    detections = concatenate_detections(moved)
    labels = _components(_same_objects(detections, tile_indices, windows), len(detections))
    return _merge(detections, labels, windows[tile_indices])


def _move(detections, window, image_size):
    """Returns `Detections` moved from the pixels of a tile (`window` `[4]`) to those of the image."""
    y, x = window[:2]
    keypoints, origins = detections.keypoints, detections.mask_origins
    return replace(
        detections,
        boxes=detections.boxes + np.array([y, x, y, x], "float32"),
        mask_origins=None if origins is None else origins + np.array([y, x]),
        keypoints=None if keypoints is None else keypoints + np.array([x, y, 0], "float32"),
        image_size=image_size,
    )


def _same_objects(detections, tiles, windows):
    """Returns pairs of detections of the same object, `[P, 2]` int.

    Args:
        detections: `Detections` of N objects, sorted by tile.
        tiles: `[N]` int, ascending, the tile of each detection.
        windows: `[T, 4]` int, yxyx.
    """
    boxes, classes = detections.boxes, detections.class_ids
    is_cut = _are_cut(boxes, windows[tiles], detections.image_size)
    crops = _mask_crops(detections)
    starts = np.searchsorted(tiles, np.arange(len(windows) + 1))
    pairs = []
    for one in np.flatnonzero(np.diff(starts)):
        commons = _intersect(windows[one], windows[one + 1 :])
        for other in one + 1 + np.flatnonzero(_have_area(commons)):
            common = commons[other - one - 1]
            first, second = (
                start + np.flatnonzero(_have_area(_intersect(boxes[start:stop], common)))
                for start, stop in ((starts[one], starts[one + 1]), (starts[other], starts[other + 1]))
            )
            touch = _have_area(_intersect(boxes[first, None], boxes[second]))
            for i, j in np.argwhere(touch & (classes[first, None] == classes[second])):
                pair = [first[i], second[j]]
                if _is_same(
                    crops[pair[0]],
                    crops[pair[1]],
                    common=common,
                    is_cut=is_cut[pair],
                    scores=detections.scores[pair],
                ):
                    pairs.append(pair)
    return np.array(pairs, "int64").reshape(-1, 2)


def _is_same(first, second, *, common, is_cut, scores):
    """Returns whether two detections are the same object, by the rules at the top of this file.

    Args:
        first, second: Tuple (mask `[h, w]` bool, its window `[4]` int) of each detection.
        common: `[4]` int, yxyx, the overlap of both tiles.
        is_cut: `[2]` bool, whether each detection is cut by its tile.
        scores: `[2]`, the score of each detection.
    """
    areas = np.array([np.count_nonzero(_part(crop, common)) for crop in (first, second)])
    both = _intersect(_intersect(first[1], second[1]), common)
    shared = np.count_nonzero(_part(first, both) & _part(second, both))
    agrees = shared > MIN_AGREEMENT * (areas.sum() - shared)
    is_covered = is_cut & (shared > MIN_AGREEMENT * areas) & (scores[::-1] >= MIN_SCORE_RATIO * scores)
    return agrees or is_covered.any()


def _part(crop, common):
    """Returns the part of a crop (mask, window) inside the window `common`. It may be empty."""
    mask, window = crop
    y1, x1, y2, x2 = np.maximum(_intersect(window, common) - np.tile(window[:2], 2), 0)
    return mask[y1:y2, x1:x2]


def _are_cut(boxes, windows, image_size):
    """Returns `[N]` bool: whether a box ends at a border of its tile that is not a border of the image."""
    sides = windows[:, 2:] - windows[:, :2]
    is_near = np.abs(boxes - windows) <= CUT_MARGIN * np.tile(sides, 2)
    return (is_near & (windows != [0, 0, *image_size])).any(axis=1)


def _mask_crops(detections):
    """Returns a list of (mask `[h, w]` bool, window `[4]` int). Without masks the whole box is used."""
    if detections.masks is not None:
        origins = detections.mask_origins.astype("int64")
        return [
            (mask, np.concatenate([origin, origin + mask.shape]))
            for mask, origin in zip(detections.masks, origins, strict=True)
        ]
    windows = detections.boxes.round().astype("int64")
    return [(np.broadcast_to(True, window[2:] - window[:2]), window) for window in windows]


def _components(pairs, count):
    """Returns the connected component of each of `count` items, `[count]` int: its lowest item."""
    labels = np.arange(count)
    while True:
        lowest = labels[pairs].min(axis=1)
        new = labels.copy()
        for side in (0, 1):
            np.minimum.at(new, pairs[:, side], lowest)
        if (new == labels).all():
            return labels
        labels = new


def _merge(detections, labels, windows):
    """Returns `Detections` with one object per label, sorted by score.

    Args:
        detections: `Detections` of N parts.
        labels: `[N]` int, equal for the parts of an object.
        windows: `[N, 4]` int, the tile of each part.
    """
    scores, boxes, origins = detections.scores.copy(), detections.boxes.copy(), detections.mask_origins
    masks = None if detections.masks is None else list(detections.masks)
    origins = None if origins is None else origins.copy()
    is_tile = (windows != [0, 0, *detections.image_size]).any(axis=1)
    by_score = np.argsort(-scores, kind="stable")
    groups = np.split(
        by_score[np.argsort(labels[by_score], kind="stable")],
        np.cumsum(np.unique(labels, return_counts=True)[1])[:-1],
    )
    kept = []
    for group in groups if len(scores) else ():
        best = group[0]
        if len(group) > 1:
            extent = _extent(boxes[group])
            complete = group[is_tile[group] & _contain(windows[group], extent)]
            if len(complete):
                best = complete[0]
            elif masks is None or origins is None:
                boxes[best] = extent
            else:
                ones = np.ones(len(group), "uint16")
                masks[best], origins[best] = weighted_mask_vote(
                    [masks[i] for i in group], origins[group], ones, threshold=1
                )
                boxes[best] = np.concatenate([origins[best], origins[best] + masks[best].shape])
            scores[best] = scores[group[0]]
        kept.append(best)
    merged = replace(
        detections,
        scores=scores,
        boxes=boxes,
        masks=None if masks is None else tuple(masks),
        mask_origins=origins,
    )
    kept = np.array(kept, "int64")
    return merged.select(kept[np.argsort(-scores[kept], kind="stable")])


def _extent(boxes):
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _contain(windows, box):
    """Returns `[N]` bool: whether each of `windows` `[N, 4]` contains the `box` `[4]`."""
    return (windows[:, :2] <= box[:2]).all(axis=1) & (windows[:, 2:] >= box[2:]).all(axis=1)


def _intersect(boxes, others):
    """Returns the intersections of `boxes` `[..., 4]` and `others`, inverted if they are disjoint."""
    low = np.maximum(boxes[..., :2], others[..., :2])
    return np.concatenate([low, np.minimum(boxes[..., 2:], others[..., 2:])], axis=-1)


def _have_area(boxes):
    return (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)
