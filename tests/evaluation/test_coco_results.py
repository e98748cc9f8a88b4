import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mask_rcnn.data.records import Annotation, ImageRecord
from mask_rcnn.evaluation.coco_results import from_coco, from_record, to_coco, write_json
from mask_rcnn.structures import Category, Detections

CATEGORIES = (Category(3, "car"), Category(90, "toothbrush"))
IMAGE_SIZE = (8, 10)
SQUARE = np.ones((2, 3), bool)


def one_toothbrush(**fields):
    return Detections([[1, 4, 3, 7]], [0.5], [2], IMAGE_SIZE, **fields)


def an_entry(**changes):
    entry = to_coco(one_toothbrush(masks=[SQUARE], mask_origins=[[1, 4]]), 7, CATEGORIES)[0]
    return {**entry, **changes}


def test_an_entry_has_the_data_sets_ids_and_xywh():
    entry = to_coco(one_toothbrush(), image_id=7, categories=CATEGORIES)[0]
    assert entry == {"image_id": 7, "category_id": 90, "bbox": [4.0, 1.0, 3.0, 2.0], "score": 0.5}


def test_the_mask_is_written_as_rle_of_the_image():
    rle = an_entry()["segmentation"]
    assert rle["size"] == [8, 10]
    assert coco_mask.area(rle) == 6
    assert coco_mask.toBbox(rle).tolist() == [4, 1, 3, 2]


def test_keypoints_are_written_flat_as_numbers_of_pixels():
    detections = one_toothbrush(keypoints=[[[1.5, 2.5, 0.5], [3.5, 4.75, 0.25]]])
    assert to_coco(detections, 7, CATEGORIES)[0]["keypoints"] == [1, 2, 0.5, 3, 4.25, 0.25]


def test_keypoints_are_read_back_as_points_of_the_image():
    entries = to_coco(one_toothbrush(keypoints=[[[1.5, 2.5, 0.5], [3.5, 4.75, 0.25]]]), 7, CATEGORIES)
    back = from_coco(entries, IMAGE_SIZE, CATEGORIES)
    assert back.keypoints.tolist() == [[[1.5, 2.5, 0.5], [3.5, 4.75, 0.25]]]


def test_known_keypoints_of_the_truth_have_score_one():
    annotation = {"category_id": 90, "bbox": [4, 1, 3, 2], "keypoints": [4, 1, 2, 6, 2, 1, 0, 0, 0]}
    without = {"category_id": 90, "bbox": [4, 1, 3, 2]}
    truth = from_coco([annotation, without], IMAGE_SIZE, CATEGORIES)
    assert truth.keypoints[0].tolist() == [[4.5, 1.5, 1], [6.5, 2.5, 1], [0.5, 0.5, 0]]
    assert not truth.keypoints[1, :, 2].any()
    assert from_coco([without], IMAGE_SIZE, CATEGORIES).keypoints is None


def test_keypoints_of_a_record_are_those_of_its_objects():
    dog = Annotation(1, 2, (1, 4, 3, 7), area=6, keypoints=((4, 1, 2), (0, 0, 0)))
    truth = from_record(ImageRecord(id=7, path="7.jpg", height=8, width=10, annotations=(dog,)))
    assert truth.keypoints.tolist() == [[[4.5, 1.5, 1], [0.5, 0.5, 0]]]


def test_no_detections_make_no_entries():
    assert to_coco(one_toothbrush().select([False]), 7, CATEGORIES) == []


def test_a_class_without_category_is_an_error():
    with pytest.raises(ValueError, match="Received: class_ids up to 2"):
        to_coco(one_toothbrush(), 7, CATEGORIES[:1])


def test_names_of_categories_have_the_ids_from_1_on():
    (entry,) = to_coco(one_toothbrush(), 7, ("car", "toothbrush"))
    assert entry["category_id"] == 2
    assert from_coco([entry], IMAGE_SIZE, ("car", "toothbrush")).class_ids.tolist() == [2]


def test_what_was_written_is_read_back():
    detections = one_toothbrush(masks=[SQUARE], mask_origins=[[1, 4]])
    back = from_coco(to_coco(detections, 7, CATEGORIES), IMAGE_SIZE, CATEGORIES)
    for field in ("boxes", "scores", "class_ids", "mask_origins"):
        np.testing.assert_array_equal(getattr(back, field), getattr(detections, field))
    np.testing.assert_array_equal(back.masks[0], SQUARE)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[4, 1, 7, 1, 7, 3, 4, 3]],
        {"size": [8, 10], "counts": [33, 2, 6, 2, 6, 2, 29]},
        an_entry()["segmentation"],
    ],
)
def test_truth_is_read_from_polygons_and_both_kinds_of_rle(segmentation):
    annotation = {"category_id": 90, "bbox": [4, 1, 3, 2], "segmentation": segmentation}
    truth = from_coco([annotation, {**annotation, "segmentation": []}], IMAGE_SIZE, CATEGORIES)
    assert truth.scores.tolist() == [1, 1]
    assert truth.boxes[0].tolist() == [1, 4, 3, 7]
    np.testing.assert_array_equal(truth.masks[0], SQUARE)
    assert truth.mask_origins[0].tolist() == [1, 4]
    assert truth.masks[1].size == 0


def test_truth_without_masks_has_none():
    truth = from_coco([{"category_id": 90, "bbox": [4, 1, 3, 2]}], IMAGE_SIZE, CATEGORIES)
    assert truth.masks is None
    assert len(from_coco([], IMAGE_SIZE, CATEGORIES)) == 0


def test_truth_of_a_record_leaves_crowds_out():
    polygon = [[4, 1, 7, 1, 7, 3, 4, 3]]
    dog = Annotation(id=1, class_id=2, box=(1, 4, 3, 7), area=6, segmentation=polygon)
    crowd = Annotation(id=2, class_id=1, box=(0, 0, 8, 8), area=64, crowd=True, segmentation=polygon)
    truth = from_record(ImageRecord(id=7, path="7.jpg", height=8, width=10, annotations=(crowd, dog)))
    assert truth.class_ids.tolist() == [2] and truth.boxes.tolist() == [[1, 4, 3, 7]]
    np.testing.assert_array_equal(truth.masks[0], SQUARE)
    assert len(from_record(ImageRecord(id=8, path="8.jpg", height=8, width=10))) == 0


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_json(path, [an_entry()])
    assert json.loads(path.read_text()) == [an_entry()]
    with pytest.raises(TypeError):
        write_json(path, [{"score": object()}])
    assert json.loads(path.read_text()) == [an_entry()]
    assert list(path.parent.iterdir()) == [path]
