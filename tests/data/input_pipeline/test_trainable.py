"""Tests of the warnings and errors about a data set before the first training step."""

import dataclasses

import numpy as np
import pytest

from mask_rcnn.config import AnchorConfig, Config, DataConfig, InputConfig, KeypointHeadConfig
from mask_rcnn.data.augmentation.finalize_sample import finalize_sample
from mask_rcnn.data.augmentation.sample import OBJECT, make_sample
from mask_rcnn.data.input_pipeline.trainable import check_trainable, training_warnings
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord
from mask_rcnn.structures import Category

CONFIG = Config(
    input=InputConfig(short_side=50, train_short_sides=(50, 100), long_side=200),
    anchors=AnchorConfig(sizes=(4, 8, 16, 32, 64)),
)
TRIANGLE = [[0, 0, 0, 9, 9, 9]]


def annotation(id, **fields):
    defaults = {"class_id": 1, "box": (0.0, 0.0, 9.0, 9.0), "area": 40.0, "segmentation": TRIANGLE}
    return Annotation(id=id, **defaults | fields)


def dataset(*images):
    """Returns a `Dataset` of images of 100 x 200 pixels with these lists of annotations, ids from 1."""
    records = (ImageRecord(id, "", 100, 200, tuple(each)) for id, each in enumerate(images, start=1))
    return Dataset("cats", (Category(1, "cat"),), tuple(records))


def test_what_has_masks_and_boxes_is_trainable():
    crowd = annotation(3, crowd=True, segmentation=None)
    check_trainable(dataset([annotation(1), crowd], []), CONFIG)
    assert training_warnings(dataset([annotation(1), crowd], []), CONFIG) == []


def test_all_kinds_of_problems_are_named_at_once_with_counts_and_examples():
    bare = [annotation(id, segmentation=None) for id in range(1, 8)]
    odd = [annotation(8, class_id=2), annotation(9, class_id=0), annotation(10, box=(3.0, 3.0, 3.0, 9.0))]
    config = dataclasses.replace(CONFIG, keypoint_head=KeypointHeadConfig())
    with pytest.raises(ValueError) as caught:
        check_trainable(dataset([annotation(0)], bare, odd), config)
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("Received: cats, with")
    boxes, classes, masks, keypoints = lines
    assert boxes.startswith("  1 boxes without an area (annotation 10 of image 3): ")
    assert classes.startswith("  2 class ids outside of 1 to 1 (annotation 8 of image 3, annotation 9 of ")
    assert masks.startswith("  7 objects without a mask (annotation 1 of image 2, ")
    assert masks.count("annotation ") == 5 and "`mask_head: null`" in masks and "in 1 of 3 images" in masks
    assert keypoints.startswith("  no object with keypoints, where 17 are expected")


@pytest.mark.parametrize("box", [(0, 0, float("nan"), 5), (0, 0, float("inf"), 5), (5, 5, 2, 9)])
def test_boxes_that_would_make_a_loss_infinite_are_refused(box):
    with pytest.raises(ValueError, match="1 boxes without an area"):
        check_trainable(dataset([annotation(1, box=box)]), CONFIG)


def test_a_few_objects_without_a_mask_are_ignored_with_a_report():
    images = [[annotation(1)], [annotation(2, segmentation=None), annotation(3)], *[[annotation(4)]] * 8]
    config = dataclasses.replace(CONFIG, data=DataConfig(max_bad_images=0.1))
    check_trainable(dataset(*images), config)
    (warning,) = training_warnings(dataset(*images), config)
    assert warning == "1 objects without a mask (annotation 2 of image 2) are ignored in training."
    with pytest.raises(ValueError, match="1 objects without a mask"):
        check_trainable(dataset(*images), CONFIG)
    boxes_only = dataclasses.replace(CONFIG, mask_head=None)
    check_trainable(dataset(*images), boxes_only)
    assert training_warnings(dataset(*images), boxes_only) == []


def test_an_object_without_a_mask_is_an_ignored_region_only_for_a_mask_head():
    annotations = [
        annotation(1, area=5.0),
        annotation(2, area=9.0, segmentation=None),
        annotation(3, area=7.0),
    ]

    def areas(max_instances, needs_mask):
        """Returns the areas of the trained objects, and of the ignored regions."""
        (record,) = dataset(annotations).images
        sample = finalize_sample(
            make_sample(record, np.zeros((100, 200, 3), "uint8")), max_instances, needs_mask
        )
        is_object = sample.kinds == OBJECT
        return [sample.areas[each].tolist() for each in (is_object, ~is_object)]

    assert areas(9, False) == [[9, 7, 5], []]
    assert areas(9, True) == [[7, 5], [9]]
    assert areas(1, True) == [[7], [5, 9]]


def test_objects_that_become_smaller_than_a_pixel_are_reported():
    small = [annotation(1, box=(0.0, 0.0, 1.9, 50.0)), annotation(2, box=(0.0, 0.0, 50.0, 2.1))]
    flat = dataclasses.replace(CONFIG, anchors=AnchorConfig(sizes=(4, 8, 16, 32, 64), ratios=(1.0, 25.0)))
    (warning,) = training_warnings(dataset(small, [annotation(3)]), flat)  # 100 x 200 becomes 50 x 100
    assert warning.startswith("1 objects (annotation 1 of image 1) are less than 1 pixel high or wide")


def test_objects_without_a_similar_anchor_are_counted():
    # The images are halved: 40 x 40 becomes 20 x 20, which fits an anchor; 6 x 70 becomes 3 x 35.
    fitting = [annotation(id, box=(0.0, 0.0, 40.0, 40.0)) for id in range(1, 4)]
    flat = [annotation(id, box=(0.0, 0.0, 6.0, 70.0)) for id in range(4, 6)]
    crowd = annotation(6, crowd=True, box=(0.0, 0.0, 1.0, 90.0))
    (warning,) = training_warnings(dataset([*fitting, *flat, crowd]), CONFIG)
    assert warning.startswith("2 of 5 objects have a size or shape that no anchor has (IoU below 0.3). ")
    assert "Their median is 3 x 35 pixels" in warning and "`anchors.ratios`" in warning
    wide = dataclasses.replace(CONFIG, anchors=AnchorConfig(sizes=(4, 8, 16, 32, 64), ratios=(0.125, 1.0)))
    assert training_warnings(dataset([*fitting, *flat, crowd]), wide) == []
    assert training_warnings(dataset([crowd]), CONFIG) == []
