"""Tests of merging the detections of tiles: by hand, and against brute force on masks of the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_rcnn.data.masks import mask_extent
from mask_rcnn.postprocessing.tile_merge import merge_tiles
from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.structures import Detections

SIZE = (40, 100)  # an image with tiles that begin at x = 0, 30 and 60
WINDOWS = Tiling(size=40, overlap=0.25).windows(SIZE)
WHOLE = [0, 0, *SIZE]


def rectangle(y1, x1, y2, x2, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def seen_in(window, masks, scores, class_ids=None, with_masks=True, **fields):
    """Returns the `Detections` in a tile, with the exact visible parts of masks of the image."""
    y1, x1, y2, x2 = window
    masks = [mask[y1:y2, x1:x2] for mask in masks]
    boxes = np.array([mask_extent(mask) for mask in masks]).reshape(-1, 4)
    origins = boxes[:, :2].astype(int)
    crops = [
        mask[top:bottom, left:right]
        for mask, (top, left, bottom, right) in zip(masks, boxes.astype(int), strict=True)
    ]
    fields |= {"masks": crops, "mask_origins": origins} if with_masks else {}
    class_ids = [1] * len(masks) if class_ids is None else class_ids
    return Detections(boxes, scores, class_ids, (y2 - y1, x2 - x1), **fields)


def merged(seen, windows=WINDOWS, **options):
    """Merges detections of tiles: a list of (masks, scores) or (masks, scores, class ids), one per tile."""
    found = [seen_in(window, *each, **options) for window, each in zip(windows, seen, strict=True)]
    return merge_tiles(found, windows, SIZE)


def test_an_object_that_tiles_cut_is_one_with_the_union_of_its_parts():
    long = rectangle(10, 5, 20, 95)
    found = merged([([long], [0.7]), ([long], [0.9]), ([long], [0.8])])
    assert found.boxes.tolist() == [[10, 5, 20, 95]] and found.scores.tolist() == [np.float32(0.9)]
    assert (found.full_mask(0) == long).all() and found.masks[0].shape == (10, 90)


def test_an_object_that_a_tile_shows_whole_is_kept_as_it_is():
    square = rectangle(10, 22, 20, 38)
    rough = square | rectangle(9, 30, 21, 39)
    found = merged([([square], [0.8]), ([rough], [0.9]), ([], [])])
    assert len(found) == 1 and (found.full_mask(0) == square).all()
    assert found.scores[0] == np.float32(0.9)


def test_neighbors_other_classes_and_objects_of_one_tile_stay_apart():
    left, right = rectangle(10, 20, 20, 34), rectangle(10, 34, 20, 50)
    assert len(merged([([left, right], [0.9, 0.8])] * 2 + [([], [])])) == 2
    one = rectangle(10, 31, 20, 39)
    assert len(merged([([one], [0.9], [1]), ([one], [0.9], [2]), ([], [])])) == 2
    assert len(merged([([one, one], [0.9, 0.5]), ([], []), ([], [])])) == 2


def test_a_part_belongs_to_what_covers_it_unless_that_is_much_less_sure():
    ring = rectangle(5, 10, 35, 90)
    part = rectangle(5, 60, 35, 75)  # the part in the last tile, cut by its border
    windows = np.array([*WINDOWS, WHOLE])
    for sure, count in ((0.5, 1), (0.4, 2)):
        found = merged([([], []), ([], []), ([part], [0.9]), ([ring], [sure])], windows)
        assert len(found) == count
    inner = rectangle(10, 70, 20, 80)  # not cut, so it is another object
    assert len(merged([([], []), ([], []), ([inner], [0.9]), ([ring], [0.9])], windows)) == 2


def test_an_object_that_the_whole_image_shows_is_joined_with_all_parts():
    large = rectangle(2, 2, 38, 98)
    windows = np.array([*WINDOWS, WHOLE])
    found = merged([([large], [0.6])] * 3 + [([large], [0.8])], windows)
    assert len(found) == 1 and (found.full_mask(0) == large).all()


def test_without_masks_boxes_are_compared():
    long, other = rectangle(10, 5, 20, 95), rectangle(30, 31, 39, 39)
    found = merged([([long, other], [0.7, 0.6])] * 2 + [([long], [0.9])], with_masks=False)
    assert found.masks is None
    assert found.boxes.tolist() == [[10, 5, 20, 95], [30, 31, 39, 39]]


def test_keypoints_and_attributes_move_with_their_object():
    square = rectangle(10, 62, 20, 70)
    keypoints, age = np.array([[[1, 2, 0.5], [0, 0, 0]]]), {"age": np.array([[7.0]])}
    found = [
        seen_in(WINDOWS[0], [], [], keypoints=np.zeros((0, 2, 3)), attributes={"age": np.zeros((0, 1))}),
        seen_in(WINDOWS[1], [square], [0.5], keypoints=keypoints + 1, attributes=age),
        seen_in(WINDOWS[2], [square], [0.9], keypoints=keypoints, attributes={"age": age["age"] + 1}),
    ]
    result = merge_tiles(found, WINDOWS, SIZE)
    assert result.keypoints[0].tolist() == [[61, 2, 0.5], [60, 0, 0]]
    assert result.attributes["age"].tolist() == [[8]]


def test_nothing_found_is_nothing():
    for with_masks in (True, False):
        found = merged([([], [])] * 3, with_masks=with_masks)
        assert len(found) == 0 and found.image_size == SIZE


def brute_force(masks, boxes, classes, scores, tiles, windows):
    """Returns {(class, score, mask bytes)} of the merged objects, from whole-image masks and a search."""
    regions = [rectangle(*window) for window in windows]
    sides = [np.tile(window[2:] - window[:2], 2) for window in windows]
    is_cut = [
        any(abs(box[k] - windows[t][k]) <= 0.01 * sides[t][k] and windows[t][k] != WHOLE[k] for k in range(4))
        for box, t in zip(boxes, tiles, strict=True)
    ]

    def is_same(i, j):
        if tiles[i] == tiles[j] or classes[i] != classes[j]:
            return False
        common = regions[tiles[i]] & regions[tiles[j]]
        one, other = masks[i] & common, masks[j] & common
        shared = (one & other).sum()
        covered = any(
            is_cut[a] and shared > 0.5 * part.sum() and scores[b] >= np.float32(0.5) * scores[a]
            for a, b, part in ((i, j, one), (j, i, other))
        )
        return shared > 0.5 * (one | other).sum() or covered

    rest, objects = set(range(len(masks))), []
    while rest:
        group = frontier = {min(rest)}
        while frontier:
            frontier = {j for j in rest - group if any(is_same(i, j) for i in frontier)}
            group = group | frontier
        rest -= group
        best = sorted(group, key=lambda i: (-scores[i], i))
        union = np.any([masks[i] for i in group], axis=0)
        whole = [
            i
            for i in best
            if tuple(windows[tiles[i]]) != tuple(WHOLE) and not (union & ~regions[tiles[i]]).any()
        ]
        mask = masks[whole[0]] if len(group) > 1 and whole else union
        objects.append((classes[best[0]], scores[best[0]], mask.tobytes()))
    return sorted(objects)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_merging_is_what_brute_force_on_whole_masks_does(seed, has_whole):
    rng = np.random.default_rng(seed)
    windows = np.array([*WINDOWS, WHOLE]) if has_whole else WINDOWS
    objects = [rectangle(y, x, y + h, x + w) for y, x, h, w in rng.integers(1, [30, 90, 30, 60], (5, 4))]
    found, rows = [], []
    for tile, window in enumerate(windows):
        masks, classes = [], []
        for number, mask in enumerate(objects):
            noisy = np.roll(mask, rng.integers(-3, 4, 2), axis=(0, 1)) & rectangle(*window)
            if noisy.any() and rng.random() < 0.8:
                masks.append(noisy)
                classes.append(1 + number % 2)
        scores = rng.permutation(90)[: len(masks)].astype("float32") / 100 + np.float32(0.01 * tile / 4)
        found.append(seen_in(window, masks, scores, classes))
        rows += [
            (mask, mask_extent(mask), *each, tile) for mask, *each in zip(masks, classes, scores, strict=True)
        ]
    result = merge_tiles(found, windows, SIZE)
    expected = brute_force(*map(list, zip(*rows, strict=True)), windows) if rows else []
    got = [(result.class_ids[i], result.scores[i], result.full_mask(i).tobytes()) for i in range(len(result))]
    assert sorted(got) == expected
    assert (np.diff(result.scores) <= 0).all()
    for i, box in enumerate(result.boxes):
        assert box.tolist() == mask_extent(result.full_mask(i)).tolist()


def test_thousands_of_objects_take_seconds_and_crops_of_their_size():
    size = (4000, 4000)
    windows = Tiling(size=1024).windows(size)
    corners = np.stack(np.meshgrid(np.arange(4, 3970, 50), np.arange(4, 3970, 50)), axis=-1).reshape(-1, 2)
    found = []
    for window in windows:
        low, high = np.maximum(corners, window[:2]), np.minimum(corners + 30, window[2:])
        kept = (high > low).all(axis=1)
        low, sides = (low - window[:2])[kept], (high - low)[kept]
        found.append(
            Detections(
                boxes=np.concatenate([low, low + sides], axis=1),
                scores=np.full(len(low), 0.9),
                class_ids=np.ones(len(low)),
                image_size=(1024, 1024),
                masks=[np.ones(side, bool) for side in sides],
                mask_origins=low,
            )
        )
    result = merge_tiles(found, windows, size)
    assert sum(map(len, found)) > len(result) == len(corners) == 6400
    assert {mask.shape for mask in result.masks} == {(30, 30)}


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_objects_that_fit_into_the_overlap_are_whole_in_a_tile(overlap):
    tiling = Tiling(size=100, overlap=overlap)
    windows = tiling.windows((1000, 330))
    rng = np.random.default_rng(0)
    tops, lefts = rng.integers(0, [1000, 330] - np.int64(100 * overlap), (500, 2)).T
    side = int(100 * overlap)
    inside = (windows[:, None, :2] <= np.stack([tops, lefts], 1)) & (
        windows[:, None, 2:] >= np.stack([tops + side, lefts + side], 1)
    )
    assert inside.all(axis=-1).any(axis=0).all()
