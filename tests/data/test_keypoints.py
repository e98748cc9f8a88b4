"""Tests of keypoints from annotations to the arrays of a batch."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.config import Config, DataConfig, InputConfig, KeypointHeadConfig, TrainConfig
from mask_rcnn.config.roi_heads import COCO_FLIP_PAIRS, COCO_KEYPOINTS
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.input_pipeline.trainable import keypoint_problems
from mask_rcnn.data.keypoints import keypoint_array, mirrored_order
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Annotation
from mask_rcnn.structures import Category
from mask_rcnn.training.training_data import read_training_data, with_keypoints_only

NAMES = ("nose", "left_eye", "right_eye")
CATEGORY = {"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]}
PERSON = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [2, 1, 8, 6], "area": 48}
POINTS = [5, 2, 2, 7, 3, 1, 0, 0, 0]
HEAD = KeypointHeadConfig(names=NAMES, flip_pairs=("left_eye:right_eye",))


@pytest.fixture
def read(tmp_path):
    """A function that reads two images of 10 x 20 pixels with the given annotations and category."""

    def write_and_read(*annotations, category=CATEGORY):
        for name in ("a.png", "b.png"):
            Image.new("RGB", (20, 10), "white").save(tmp_path / name)
        images = [
            {"id": image_id, "file_name": name, "height": 10, "width": 20}
            for image_id, name in ((7, "a.png"), (9, "b.png"))
        ]
        content = {"images": images, "categories": [category], "annotations": annotations}
        (tmp_path / "persons.json").write_text(json.dumps(content))
        return read_coco(tmp_path / "persons.json", tmp_path)

    return write_and_read


def person(**fields):
    return {**PERSON, "keypoints": POINTS, **fields}


def config(half_pixel=True, flip=0.0, **fields):
    return Config(
        num_classes=1,
        input=InputConfig(
            short_side=20, train_short_sides=(20,), long_side=64, max_instances=3, horizontal_flip=flip
        ),
        mask_head=None,
        keypoint_head=dataclasses.replace(HEAD, half_pixel=half_pixel, **fields),
        train=TrainConfig(batch_size=1, reference_batch_size=1, steps=1),
    )


def batch_of(dataset, config):
    dataset = with_keypoints_only(dataset)
    return next(
        {name: value.numpy() for name, value in batch.items()} for batch in training_dataset(dataset, config)
    )


def test_categories_have_their_keypoints_and_skeleton(read):
    assert read(person()).categories == (Category(1, "person", NAMES, ((1, 2), (1, 3))),)


def test_annotations_keep_the_numbers_of_the_file(read):
    assert read(person()).images[0].annotations[0].keypoints == ((5, 2, 2), (7, 3, 1), (0, 0, 0))


def test_annotations_without_keypoints_have_none(read):
    without, empty = PERSON, person(id=2, keypoints=[])
    assert [one.keypoints for one in read(without, empty).images[0].annotations] == [None, None]


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (POINTS[:8], "x, y, visibility of the 3 keypoints of 'person'. Received: annotation 1 with 8 values"),
        ([*POINTS, 0, 0, 0], "Received: annotation 1 with 12 values"),
        ([*POINTS[:8], True], "Received: annotation 1 with 9 values"),
        ([*POINTS[:7], float("nan"), 2], "Received: annotation 1 with 9 values"),
        ([5, 2, 3, 7, 3, 1, 0, 0, 0], r"visibility .* Received: annotation 1 with visibilities \[0, 1, 3\]"),
    ],
)
def test_keypoints_that_make_no_sense_are_named(read, keypoints, message):
    with pytest.raises(ValueError, match=message):
        read(person(keypoints=keypoints))


@pytest.mark.parametrize(
    ("keypoints", "expected", "repair"),
    [
        (None, None, None),
        (POINTS[:6], ((5, 2, 2), (7, 3, 1), (0, 0, 0)), "was too short"),
        ([*POINTS[:3], None, None, None, 1, 1, 2], ((5, 2, 2), (0, 0, 0), (1, 1, 2)), "had a null"),
        (list(map(float, POINTS)), ((5, 2, 2), (7, 3, 1), (0, 0, 0)), None),
        (list(map(str, POINTS)), ((5, 2, 2), (7, 3, 1), (0, 0, 0)), "were text"),
        ([[5, 2, 2], [7, 3, 1], [0, 0, 0]], ((5, 2, 2), (7, 3, 1), (0, 0, 0)), "lists of three"),
    ],
)
def test_keypoints_of_other_tools_are_repaired_and_reported(read, keypoints, expected, repair):
    dataset = read(person(keypoints=keypoints, iscrowd=0))
    assert dataset.images[0].annotations[0].keypoints == expected
    assert [repair in line for line in dataset.warnings] == ([True] if repair else [])


def test_without_names_any_number_of_keypoints_will_do(read):
    category = {"id": 1, "name": "person"}
    assert len(read(person(), category=category).images[0].annotations[0].keypoints) == 3
    with pytest.raises(ValueError, match="of each keypoint. Received: annotation 1 with 8 values"):
        read(person(keypoints=POINTS[:8]), category=category)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": "nose"}, "list of names. Received: category 1 with keypoints='nose'"),
        ({"skeleton": [[1, 4]]}, "keypoint numbers, 1 to 3. Received: category 1 with skeleton="),
        ({"skeleton": [[0, 1]]}, "keypoint numbers, 1 to 3. Received: category 1 with skeleton="),
        ({"skeleton": [[1, 2, 3]]}, "must be pairs"),
        ({"skeleton": 7}, "must be pairs"),
    ],
)
def test_categories_that_make_no_sense_are_named(read, fields, message):
    with pytest.raises(ValueError, match=message):
        read(person(), category={**CATEGORY, **fields})


def test_a_mirror_swaps_the_pairs_of_coco():
    order = mirrored_order(COCO_KEYPOINTS, COCO_FLIP_PAIRS)
    assert order.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


@pytest.mark.parametrize(("half_pixel", "shift"), [(True, 0.5), (False, 0.0)])
def test_numbers_of_pixels_become_their_centers_where_the_convention_says_so(half_pixel, shift):
    annotations = [
        Annotation(1, 1, (0, 0, 9, 9), 81.0, keypoints=((5, 2, 2),)),
        Annotation(2, 1, (0, 0, 9, 9), 81.0),
    ]
    found = keypoint_array(annotations, 1, half_pixel)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[[2 + shift, 5 + shift, 2]], [[shift, shift, 0]]])


def test_no_annotations_have_no_keypoints():
    assert keypoint_array([], 17, True).shape == (0, 17, 3)


def test_a_batch_has_keypoints_in_resized_pixels(read):
    batch = batch_of(read(person()), config())  # resized by 2
    assert batch["gt_keypoints"].shape == (1, 3, 3, 3) and batch["gt_keypoints"].dtype == "float32"
    np.testing.assert_allclose(batch["gt_keypoints"][0, 0], [[5, 11, 2], [7, 15, 1], [1, 1, 0]])
    assert not batch["gt_keypoints"][0, 1:].any()


@pytest.mark.parametrize(("half_pixel", "nose"), [(True, [5, 29, 2]), (False, [4, 30, 2])])
def test_a_flipped_image_has_mirrored_keypoints(read, half_pixel, nose):
    points = batch_of(read(person()), config(half_pixel, flip=1.0))["gt_keypoints"][0, 0]
    np.testing.assert_allclose(points[0], nose)
    assert points[:, 2].tolist() == [2, 0, 1]  # the labeled left eye became the right eye


def test_without_a_keypoint_head_there_are_no_keypoints(read):
    without = dataclasses.replace(config(), keypoint_head=None)
    assert "gt_keypoints" not in batch_of(read(person()), without)


def test_images_without_known_keypoints_are_not_trained_on(read):
    unknown = person(id=2, image_id=9, keypoints=[0] * 9)
    crowd = person(id=3, image_id=9, iscrowd=1)
    assert [image.id for image in with_keypoints_only(read(person(), unknown, crowd)).images] == [7]


def test_data_without_keypoints_cannot_train_a_keypoint_head(read):
    with pytest.raises(
        ValueError, match="no object with keypoints, where 3 are expected .nose, left_eye.*: null"
    ):
        training_dataset(read(PERSON), config())


def test_keypoints_of_another_kind_are_named(read):
    (problem,) = keypoint_problems(read(person()), ("head", "tail", "paw"))
    assert "category 'person' with other keypoints (nose, left_eye, right_eye)" in problem
    unnamed = read(person(), person(id=2), category={"id": 1, "name": "person"})
    (problem,) = keypoint_problems(unnamed, ("head", "tail"))
    assert (
        "2 objects with other than 2 keypoints (annotation 1 of image 7, annotation 2 of image 7)" in problem
    )


def test_a_validation_set_without_keypoints_is_refused_before_the_run(read, tmp_path):
    read(person())
    (tmp_path / "persons.json").rename(tmp_path / "train.json")
    read(PERSON)
    data = DataConfig(
        train_annotations=str(tmp_path / "train.json"),
        train_images=str(tmp_path),
        val_annotations=str(tmp_path / "persons.json"),
        val_images=str(tmp_path),
    )
    with pytest.raises(ValueError, match="Received: persons, with\n  no object with keypoints"):
        read_training_data(dataclasses.replace(config(), data=data), tmp_path)


def test_cocos_own_json_is_read(shared_data):
    folder = shared_data / "coco2017_permissive"
    dataset = read_coco(folder / "annotations" / "person_keypoints_train.json", folder / "images")
    assert dataset.categories[0].keypoints == COCO_KEYPOINTS
    assert len(dataset.categories[0].skeleton) == 19
    assert len(with_keypoints_only(dataset)) == 13
    assert keypoint_problems(dataset, COCO_KEYPOINTS) == []
