"""Tests of the presets of torchvision and detectron2: categories, conventions, and conversions of arrays.

test_parity_torchvision.py and test_parity_detectron2.py compare complete models.
"""

import numpy as np
import pytest

from mask_rcnn import config_io
from mask_rcnn.model_zoo import detectron2, torchvision
from mask_rcnn.model_zoo.coco import COCO_CATEGORIES, COCO_CATEGORIES_WITH_GAPS
from mask_rcnn.model_zoo.convert import translate

ALL = torchvision.PRESETS | detectron2.PRESETS


def converted(name, array, source=detectron2):
    """Returns `(name here, array here)` of one array of the source."""
    (item,) = translate({name: np.asarray(array, "float32")}, source.TABLE, source.IGNORED).items()
    return item


def test_coco_has_eighty_categories_with_ids_up_to_ninety():
    assert len(COCO_CATEGORIES) == 80
    assert (COCO_CATEGORIES[11].id, COCO_CATEGORIES[11].name) == (13, "stop sign")
    assert (COCO_CATEGORIES[-1].id, COCO_CATEGORIES[-1].name) == (90, "toothbrush")


def test_torchvision_numbers_its_classes_by_the_ids_of_coco():
    assert [category.id for category in COCO_CATEGORIES_WITH_GAPS] == list(range(1, 91))
    assert set(COCO_CATEGORIES) <= set(COCO_CATEGORIES_WITH_GAPS)


@pytest.mark.parametrize("name", ALL)
def test_a_preset_has_a_category_for_each_class_and_a_config_that_can_be_written(name):
    config = ALL[name].config()
    assert len(ALL[name].categories) == config.num_classes
    assert config_io.from_yaml(config_io.to_yaml(config)) == config


def test_the_background_comes_first():
    name, bias = converted("roi_heads.box_predictor.cls_score.bias", [1, 2, 9])
    assert name == "box_head/class_logits/bias"
    np.testing.assert_array_equal(bias, [9, 1, 2])
    _, kernel = converted("roi_heads.box_predictor.cls_score.weight", [[1, 10], [2, 20], [9, 90]])
    np.testing.assert_array_equal(kernel, [[9, 1, 2], [90, 10, 20]])


def test_the_background_gets_a_box_and_a_mask_of_zeros():
    name, bias = converted("roi_heads.box_predictor.bbox_pred.bias", [1, 2, 3, 4, 5, 6, 7, 8])
    assert name == "box_head/deltas/bias"
    np.testing.assert_array_equal(bias, [0, 0, 0, 0, 2, 1, 4, 3, 6, 5, 8, 7])
    _, kernel = converted("roi_heads.box_predictor.bbox_pred.weight", np.arange(1, 9).reshape(4, 2))
    np.testing.assert_array_equal(kernel, [[0, 0, 0, 0, 3, 1, 7, 5], [0, 0, 0, 0, 4, 2, 8, 6]])
    name, kernel = converted("roi_heads.mask_head.predictor.weight", np.ones([2, 5, 1, 1]))
    assert name == "mask_head/predictor/kernel"
    np.testing.assert_array_equal(kernel, np.tile([0, 1, 1], (5, 1)))


def test_the_boxes_of_a_cascade_are_of_all_classes():
    name, bias = converted("roi_heads.box_predictor.2.bbox_pred.bias", [1, 2, 3, 4])
    assert name == "box_head3/deltas/bias"
    np.testing.assert_array_equal(bias, [2, 1, 4, 3])


def test_the_first_convolution_takes_red_first():
    name, kernel = converted("backbone.bottom_up.stem.conv1.weight", np.arange(3).reshape(1, 3, 1, 1))
    assert name == "backbone/stem/kernel"
    np.testing.assert_array_equal(kernel.ravel(), [2, 1, 0])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.res3.0.shortcut.norm.running_var", "backbone/stage3_block0_shortcut/norm/moving_variance"),
        ("backbone.bottom_up.res4.22.conv2.norm.bias", "backbone/stage4_block22_conv2/norm/beta"),
        ("roi_heads.res5.1.conv3.norm.weight", "roi_stage/stage5_block1_conv3/norm/gamma"),
        ("backbone.fpn_output3.norm.weight", "fpn/output3/norm/gamma"),
        ("backbone.fpn_lateral3.bias", "fpn/lateral3/bias"),
        ("proposal_generator.rpn_head.conv.bias", "rpn_head/conv0/bias"),
        ("proposal_generator.rpn_head.conv.conv1.bias", "rpn_head/conv1/bias"),
        ("roi_heads.box_head.conv4.norm.bias", "box_head/conv4/norm/beta"),
        ("roi_heads.box_head.1.fc2.bias", "box_head2/fc2/bias"),
        ("roi_heads.mask_head.mask_fcn4.norm.bias", "mask_head/conv4/norm/beta"),
        ("roi_heads.keypoint_head.conv_fcn8.bias", "keypoint_head/conv8/bias"),
    ],
)
def test_names_of_detectron2(theirs, ours):
    assert converted(theirs, np.zeros(4))[0] == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.fpn.inner_blocks.1.1.running_mean", "fpn/lateral3/norm/moving_mean"),
        ("rpn.head.conv.1.0.bias", "rpn_head/conv1/bias"),
        ("roi_heads.box_head.3.1.weight", "box_head/conv4/norm/gamma"),
        ("roi_heads.box_head.5.bias", "box_head/fc1/bias"),
        ("roi_heads.mask_head.0.1.bias", "mask_head/conv1/norm/beta"),
        ("roi_heads.keypoint_head.14.bias", "keypoint_head/conv8/bias"),
    ],
)
def test_names_of_torchvision(theirs, ours):
    assert converted(theirs, np.zeros(4), torchvision)[0] == ours


def test_what_a_checkpoint_of_detectron2_holds_besides_weights_is_ignored():
    names = ("proposal_generator.anchor_generator.cell_anchors.0", "pixel_mean", "pixel_std")
    assert not translate({name: np.zeros(3) for name in names}, detectron2.TABLE, detectron2.IGNORED)
