import dataclasses

import numpy as np
import pytest

from mask_rcnn.config import Config, InputConfig, TrainConfig
from mask_rcnn.data.input_pipeline.instance_limits import count_ignored_objects, instance_limit_warning
from mask_rcnn.data.input_pipeline.pipeline import images_of_step, training_dataset
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Annotation
from mask_rcnn.data.shapes import write_shapes


def small_config(steps=6, **input_fields):
    fields = {"short_side": 64, "train_short_sides": (64, 80), "long_side": 120, "max_instances": 12}
    return Config(
        input=InputConfig(**{**fields, **input_fields}),
        train=TrainConfig(batch_size=2, reference_batch_size=2, steps=steps, seed=5),
    )


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return read_coco(*write_shapes(tmp_path_factory.mktemp("shapes"), 6, (48, 64), seed=1))


def batches(dataset, config, first_step=0):
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in training_dataset(dataset, config, first_step)
    ]


def test_a_batch_has_the_promised_arrays(shapes):
    batch = batches(shapes, small_config(steps=1))[0]
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "images": ((2, 96, 128, 3), "float32"),
        "image_sizes": ((2, 2), "float32"),
        "gt_boxes": ((2, 12, 4), "float32"),
        "gt_class_ids": ((2, 12), "int32"),
        "gt_masks": ((2, 12, 112, 112), "uint8"),
        "seeds": ((2, 2), "int32"),
    }
    assert {(64, 85), (80, 107)} >= {tuple(size) for size in batch["image_sizes"].tolist()}


def test_images_stop_at_their_size_and_padding_is_zero(shapes):
    for batch in batches(shapes, small_config()):
        for image, (height, width) in zip(batch["images"], batch["image_sizes"].astype(int), strict=True):
            assert image[height - 1, width - 1].any()
            assert not image[height:].any()
            assert not image[:, width:].any()


def test_images_in_the_middle_take_their_boxes_along(shapes):
    fields = {"train_short_sides": (64,), "horizontal_flip": 0.0}
    plain = batches(shapes, small_config(steps=2, **fields))
    fields |= {"padded_size": (128, 128), "centered": True}
    for before, after in zip(plain, batches(shapes, small_config(steps=2, **fields)), strict=True):
        assert after["images"].shape == (2, 128, 128, 3)
        np.testing.assert_array_equal(after["images"][:, 32:96, 21:106], before["images"][:, :64, :85])
        assert np.count_nonzero(after["images"]) == np.count_nonzero(before["images"])
        shift = (before["gt_class_ids"] != 0)[..., None] * [32, 21, 32, 21]
        np.testing.assert_allclose(after["gt_boxes"], before["gt_boxes"] + shift, rtol=1e-6)


def test_without_a_mask_head_there_are_no_masks(shapes):
    config = dataclasses.replace(small_config(steps=1), mask_head=None)
    assert "gt_masks" not in batches(shapes, config)[0]


def test_masks_touch_all_sides_of_their_boxes_after_resize_and_flip(shapes):
    for batch in batches(shapes, small_config()):
        masks = batch["gt_masks"][batch["gt_class_ids"] > 0].astype(bool)
        for side in (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]):
            assert side.any(axis=1).all()
        assert not batch["gt_masks"][batch["gt_class_ids"] == 0].any()


def test_a_flip_mirrors_image_boxes_and_masks(shapes):
    scales = {"train_short_sides": (64,), "short_side": 64}
    plain = batches(shapes, small_config(steps=2, horizontal_flip=0.0, **scales))
    flipped = batches(shapes, small_config(steps=2, horizontal_flip=1.0, **scales))
    for before, after in zip(plain, flipped, strict=True):
        np.testing.assert_allclose(after["images"][:, :64, :85], before["images"][:, :64, 84::-1], atol=1e-3)
        real = before["gt_class_ids"] > 0
        y1, x1, y2, x2 = before["gt_boxes"][real].T
        np.testing.assert_allclose(after["gt_boxes"][real].T, [y1, 85 - x2, y2, 85 - x1], atol=1e-4)
        np.testing.assert_array_equal(after["gt_masks"], before["gt_masks"][..., ::-1])


def test_a_resumed_run_gets_the_same_batches(shapes):
    whole = batches(shapes, small_config())
    resumed = batches(shapes, small_config(), first_step=4)
    assert (len(whole), len(resumed)) == (6, 2)
    for expected, actual in zip(whole[4:], resumed, strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value)


def test_seeds_are_different_for_every_image_of_every_step(shapes):
    seeds = np.concatenate([batch["seeds"] for batch in batches(shapes, small_config())])
    assert len(np.unique(seeds, axis=0)) == 12


def test_images_of_a_step_are_those_of_its_batch(shapes):
    config = small_config(horizontal_flip=0.0)
    records = images_of_step(shapes, config, 3)
    batch = batches(shapes, config, first_step=3)[0]
    num_objects = [min(len(record.annotations), 12) for record in records]
    np.testing.assert_array_equal((batch["gt_class_ids"] > 0).sum(axis=1), num_objects)


def with_annotations(dataset, *annotations):
    """Returns a copy of the data set with these annotations: a list for each of its first images."""
    images = [
        dataclasses.replace(image, annotations=tuple(each))
        for image, each in zip(dataset.images, annotations, strict=False)
    ]
    return dataclasses.replace(dataset, images=tuple(images))


def square(id, side, crowd=False):
    """Returns an object, or a crowd region without a mask, in the top left corner."""
    segmentation = None if crowd else [[0, 0, side, 0, side, side, 0, side]]
    return Annotation(id, 1, (0.0, 0.0, float(side), float(side)), float(side**2), crowd, segmentation)


def test_objects_beyond_the_limit_and_all_crowds_are_ignored_regions(shapes):
    objects = [square(1, 3), square(2, 9), square(3, 5), square(4, 7)]
    crowds = [square(5, 40, crowd=True), square(6, 20, crowd=True)]
    dataset = with_annotations(shapes, objects + crowds, crowds, [], objects[:2], objects[:1])
    config = small_config(steps=5, max_instances=2, horizontal_flip=0.0, train_short_sides=(64,))
    scale, by_ids = 64 / 48, {}
    for batch in batches(dataset, config):
        assert batch["gt_boxes"].shape == (2, 6, 4)
        assert batch["gt_masks"].shape == (2, 2, 112, 112)
        for boxes, ids, masks in zip(
            *(batch[f"gt_{name}"] for name in ("boxes", "class_ids", "masks")), strict=True
        ):
            by_ids[tuple(ids)] = (np.round(boxes[:, 2] / scale).tolist(), masks.any(axis=(1, 2)).tolist())
    assert by_ids == {
        (1, 1, -1, -1, -1, -1): ([9, 7, 5, 3, 40, 20], [True, True]),
        (-1, -1, 0, 0, 0, 0): ([40, 20, 0, 0, 0, 0], [False, False]),
        (0, 0, 0, 0, 0, 0): ([0] * 6, [False, False]),
        (1, 1, 0, 0, 0, 0): ([9, 3, 0, 0, 0, 0], [True, True]),
        (1, 0, 0, 0, 0, 0): ([3, 0, 0, 0, 0, 0], [True, False]),
    }


def test_ignored_objects_are_counted_and_reported_once(shapes, caplog):
    many, few = [square(id, 10) for id in range(5)], [square(9, 5), square(8, 40, crowd=True)]
    dataset = with_annotations(shapes, many, few, many[:4])
    assert count_ignored_objects(dataset, 3) == {"objects": 3, "images": 2, "most_objects": 5}
    assert instance_limit_warning(dataset, 5) is None
    with caplog.at_level("WARNING"):
        batches(dataset, small_config(max_instances=3))
    (message,) = [each for each in caplog.messages if "ignored" in each]
    assert "3 objects of 2 images" in message
    assert "Set `input.max_instances` to 5" in message


def test_crowds_follow_the_objects(shared_data):
    folder = shared_data / "coco2017_permissive"
    dataset = read_coco(folder / "annotations" / "instances_train.json", folder / "images")
    with_crowd = [image for image in dataset.images if any(one.crowd for one in image.annotations)]
    dataset = dataclasses.replace(dataset, images=tuple(with_crowd[:1]))
    config = small_config(steps=1, max_instances=40)
    ids = batches(dataset, config)[0]["gt_class_ids"][0]
    kinds = np.sign(ids)
    np.testing.assert_array_equal(kinds, sorted(kinds, key=[1, -1, 0].index))
    assert (kinds == -1).sum() == sum(one.crowd for one in with_crowd[0].annotations)


def test_objects_without_segmentation_cannot_train_a_mask_head(shapes):
    first = shapes.images[0]
    bare = dataclasses.replace(first, annotations=(Annotation(77, 1, (0.0, 0.0, 5.0, 5.0), 25.0),))
    dataset = dataclasses.replace(shapes, images=(bare, *shapes.images[1:]))
    with pytest.raises(ValueError, match=r"annotation 77 of image 1.*mask_head: null"):
        training_dataset(dataset, small_config())
    training_dataset(dataset, dataclasses.replace(small_config(), mask_head=None))


@pytest.mark.parametrize("transforms", [(), ("scale_jitter low=0.5 high=1.5", "color_jitter")])
def test_the_shares_of_two_processes_are_the_batches_of_one(shapes, transforms):
    config = small_config(transforms=transforms)
    whole = batches(shapes, config, first_step=1)
    shares = [
        [
            {name: value.numpy() for name, value in batch.items()}
            for batch in training_dataset(shapes, config, first_step=1, shard=(number, 2))
        ]
        for number in range(2)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert parts[0]["images"].shape == (1, *batch["images"].shape[1:])
        for name, value in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), value)
    sizes = np.array([batch["image_sizes"] for batch in whole])
    assert (sizes[:, 0] != sizes[:, 1]).any()  # padding makes their sizes equal
