import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mask_rcnn.structures import Detections, encode_crop

SQUARE = np.ones((2, 2), bool)


def two_objects(**changes):
    fields = {
        "boxes": [[0, 0, 2, 2], [1, 3, 3, 5]],
        "scores": [0.9, 0.8],
        "class_ids": [1, 2],
        "image_size": (4, 6),
        "masks": [SQUARE, SQUARE],
        "mask_origins": [[0, 0], [1, 3]],
    }
    return Detections(**{**fields, **changes})


def test_arrays_get_their_dtypes():
    detections = two_objects(keypoints=np.zeros((2, 17, 3)))
    assert len(detections) == 2
    assert detections.boxes.dtype == detections.scores.dtype == detections.keypoints.dtype == np.float32
    assert detections.class_ids.dtype == detections.mask_origins.dtype == np.int32
    assert detections.image_size == (4, 6)


def test_no_objects_is_fine():
    empty = Detections(np.zeros((0, 4)), [], [], (4, 6), masks=(), mask_origins=np.zeros((0, 2)))
    assert len(empty) == 0
    assert len(empty.select(slice(None))) == 0


def test_full_mask_puts_the_crop_at_its_origin():
    expected = np.zeros((4, 6), bool)
    expected[1:3, 3:5] = True
    np.testing.assert_array_equal(two_objects().full_mask(1), expected)


def test_rle_of_a_square_counts_down_the_columns():
    # 3 empty columns of 4 pixels and one pixel, then 2 set, 2 unset, 2 set, and 1 + 4 unset.
    rle = two_objects().rle(1)
    expected = coco_mask.frPyObjects({"size": [4, 6], "counts": [13, 2, 2, 2, 5]}, 4, 6)
    assert rle == {"size": [4, 6], "counts": expected["counts"].decode()}
    json.dumps(rle)


def test_rle_joins_runs_of_columns_that_are_full():
    rle = encode_crop(np.ones((4, 2), bool), (0, 1), (4, 6))
    expected = coco_mask.frPyObjects({"size": [4, 6], "counts": [4, 8, 12]}, 4, 6)
    assert rle["counts"] == expected["counts"].decode()


@pytest.mark.parametrize("density", [0.0, 0.2, 0.7, 1.0])
def test_rle_of_a_crop_equals_that_of_the_whole_mask(density):
    random = np.random.default_rng(0)
    for _ in range(100):
        height, width = random.integers(1, 9, 2)
        h, w = random.integers(0, height + 1), random.integers(0, width + 1)
        y, x = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
        crop = random.random((h, w)) < density
        whole = np.zeros((height, width), "uint8")
        whole[y : y + h, x : x + w] = crop
        rle = encode_crop(crop, (int(y), int(x)), (int(height), int(width)))
        assert rle["counts"] == coco_mask.encode(np.asfortranarray(whole))["counts"].decode()


@pytest.mark.parametrize("index", [[False, True], [1], slice(1, None), np.array([1])])
def test_keep_selects_every_field(index):
    kept = two_objects(keypoints=np.arange(6).reshape(2, 1, 3)).select(index)
    assert kept.class_ids.tolist() == [2]
    assert kept.boxes.tolist() == [[1, 3, 3, 5]]
    assert kept.mask_origins.tolist() == [[1, 3]]
    assert kept.keypoints.tolist() == [[[3, 4, 5]]]
    assert len(kept.masks) == 1


def test_keep_without_masks():
    assert two_objects(masks=None, mask_origins=None).select([0]).masks is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [0, 0, 2, 2]}, "`boxes` must have shape"),
        ({"scores": [0.9]}, "`scores` must have shape"),
        ({"class_ids": [0, 1]}, "0 means background"),
        ({"masks": None}, "belong together"),
        ({"masks": [SQUARE]}, "one crop for each of the 2 boxes"),
        ({"masks": [SQUARE, SQUARE.astype("float32")]}, "must be a boolean array"),
        ({"mask_origins": [[0, 0], [3, 3]]}, "inside the image"),
        ({"mask_origins": [[0, 0], [-1, 3]]}, "inside the image"),
        ({"keypoints": np.zeros((2, 17))}, "`keypoints` must have shape"),
    ],
)
def test_errors_say_what_is_expected_and_what_came(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        two_objects(**changes)
    assert "Received: " in str(error.value)


def test_a_mask_of_detections_without_masks_is_an_error():
    with pytest.raises(ValueError, match="have no masks"):
        two_objects(masks=None, mask_origins=None).rle(0)
