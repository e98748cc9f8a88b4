"""Tests of transforms that join images, copy-paste and mosaic, and of how the pipeline provides images."""

import dataclasses

import numpy as np
import pytest
from training_batches import assert_equal, batches, config
from transform_samples import done, sample_of

from mask_rcnn.data.augmentation.apply_geometry import render
from mask_rcnn.data.augmentation.augment import make_transforms, parse_transform
from mask_rcnn.data.augmentation.copy_paste import copy_paste
from mask_rcnn.data.augmentation.geometric import vertical_flip
from mask_rcnn.data.augmentation.joining_transforms import apply_transforms, num_others, takes_others
from mask_rcnn.data.augmentation.mosaic import mosaic
from mask_rcnn.data.augmentation.sample import CROWD
from mask_rcnn.data.input_pipeline.bad_images import BadImages
from mask_rcnn.data.input_pipeline.pipeline import images_of_step
from mask_rcnn.data.input_pipeline.trainable import training_warnings
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes

OVER = [[20, 20, 40, 20, 40, 40, 20, 40]]  # covers the right half of SQUARE
HIDING = [[5, 15, 35, 15, 35, 45, 5, 45]]  # covers all of it


def gray_sample(segmentation, box, **fields):
    """Returns a sample of class 7 whose object is gray on black."""
    sample = sample_of([segmentation], [box])
    image = (sample.image // 2).astype("uint8")
    return dataclasses.replace(sample, image=image, class_ids=np.array([7], "int32"), **fields)


def test_a_pasted_object_cuts_the_one_below_it():
    other = gray_sample(OVER, (20, 20, 40, 40))
    found = done(copy_paste(sample_of(), np.random.default_rng(0), [other], share=1.0))
    assert found.class_ids.tolist() == [7, 1]  # sorted by area
    np.testing.assert_array_equal(found.output_boxes(), [[20, 20, 40, 40], [20, 10, 40, 20]])
    assert found.output_masks(10).all()
    image = render(found, "uint8")[..., 0]
    assert (image[20:40, 10:20] == 255).all() and (image[20:40, 20:40] == 127).all()
    assert np.count_nonzero(image) == 20 * 30


def test_a_hidden_object_is_removed_and_crowds_are_not_pasted():
    hiding = gray_sample(HIDING, (15, 5, 45, 35))
    rng = np.random.default_rng(0)
    assert copy_paste(sample_of(), rng, [hiding], share=1.0).class_ids.tolist() == [7]
    crowd = dataclasses.replace(hiding, kinds=np.array([CROWD], "int8"))
    unmasked = dataclasses.replace(hiding, segmentations=(None,))
    for other in (crowd, unmasked):
        sample = sample_of()
        assert copy_paste(sample, rng, [other], share=1.0) is sample


def test_a_smaller_image_is_pasted_at_a_random_place_of_the_frame():
    small = sample_of([[[0, 0, 10, 0, 10, 10, 0, 10]]], [(0, 0, 10, 10)], size=(20, 30))
    boxes = set()
    for seed in range(20):
        found = copy_paste(sample_of(), np.random.default_rng(seed), [small], share=1.0)
        assert found.size == (60, 80)
        y, x = found.boxes[-1, :2]
        assert 0 <= y <= 40 and 0 <= x <= 50
        boxes.add((y, x))
    assert len(boxes) > 15


def test_blending_softens_edges_and_nothing_else():
    other, rng = gray_sample(OVER, (20, 20, 40, 40)), np.random.default_rng(0)
    sharp, soft = (copy_paste(sample_of(), rng, [other], share=1.0, blend=blend) for blend in (0.0, 1.0))
    differs = (sharp.image != soft.image).any(axis=-1)
    assert differs[19:21, 20:40].any() and not differs[25:35, 25:35].any() and not differs[:10].any()
    np.testing.assert_array_equal(soft.boxes, sharp.boxes)


def test_a_mosaic_shows_a_part_of_each_image_in_its_quarter():
    levels = (50, 100, 150, 200)
    samples = [
        dataclasses.replace(
            sample_of(),
            image=np.full((60, 80, 3), level, "uint8"),
            boxes=np.array([[0.0, 0, 60, 80]]),
            segmentations=([[0, 0, 80, 0, 80, 60, 0, 60]],),
            class_ids=np.array([level], "int32"),
        )
        for level in levels
    ]
    sample, *others = samples
    found = mosaic(sample, np.random.default_rng(0), others, margin=0.5, probability=1.0)
    assert found.class_ids.tolist() == list(levels)
    np.testing.assert_array_equal(
        found.boxes, [[0, 0, 30, 40], [0, 40, 30, 80], [30, 0, 60, 40], [30, 40, 60, 80]]
    )
    for level, (y1, x1, y2, x2) in zip(levels, found.boxes.astype(int), strict=True):
        assert (found.image[y1:y2, x1:x2] == level).all()


def test_the_others_go_through_the_transforms_before_it_each_with_its_own_numbers():
    seen = []

    @takes_others(2)
    def look(sample, rng, others):
        seen.extend([sample, *others])
        return sample

    def shift(sample, rng):
        return dataclasses.replace(sample, areas=rng.random(1))

    samples = [sample_of() for _ in range(3)]
    apply_transforms([shift, look, vertical_flip], samples, (3, 4), check=lambda sample, transform: sample)
    assert len({float(each.areas[0]) for each in seen}) == 3
    assert all((each.matrix == np.eye(3)).all() for each in seen)


def test_transforms_with_others_are_named_like_all_and_counted():
    transforms = ("mosaic margin=0.3", "copy_paste share=0.2", "crop")
    assert num_others(make_transforms(config(0, transforms=transforms).input)) == 4
    with pytest.raises(ValueError, match="name=value.*'mosaic others=3'"):
        parse_transform("mosaic others=3")


@pytest.fixture
def shapes(tmp_path):
    return read_coco(*write_shapes(tmp_path, 6, (48, 64), seed=1))


JOINING = ("scale_jitter low=0.5 high=1.5", "copy_paste", "mosaic")


def test_joined_images_are_the_same_in_processes_with_bad_images_and_after_a_resume(shapes):
    settings = {"transforms": JOINING, "max_instances": 30}
    good = batches(shapes, config(0, **settings))
    shapes.images[3].path.write_bytes(b"no image")
    bad_images = BadImages(shapes, config(0, **settings))
    whole = batches(shapes, config(0, **settings), bad_images=bad_images)
    assert list(bad_images.reasons) == [3]
    assert any(
        (a["images"].shape != b["images"].shape) or (a["images"] != b["images"]).any()
        for a, b in zip(good, whole, strict=True)
    )
    assert_equal(batches(shapes, config(2, **settings), first_step=2), whole[2:])
    assert max((batch["gt_class_ids"] > 0).sum(axis=1).max() for batch in whole) > max(
        len(image.annotations) for image in shapes.images
    )


def test_a_message_about_a_step_names_the_joined_images_too(shapes):
    records = images_of_step(shapes, config(0), 2)
    joined = images_of_step(shapes, config(0, transforms=JOINING), 2)
    assert joined[: len(records)] == records
    assert len(joined) == 5 * len(records)
    used = images_of_step(shapes, config(0, transforms=("mosaic probability=1.0",)), 2)
    assert len(used) == 4 * len(records)


def test_objects_beyond_the_limit_are_ignored_and_said_before(shapes):
    few = config(0, transforms=("mosaic probability=1.0",), max_instances=4)
    for batch in batches(shapes, few):
        assert (np.count_nonzero(batch["gt_class_ids"] > 0, axis=1) <= 4).all()
    assert any("`input.transforms` join 4 images" in each for each in training_warnings(shapes, few))
    enough = config(0, transforms=("mosaic probability=1.0",), max_instances=100)
    assert not any("join" in each for each in training_warnings(shapes, enough))
