"""Tests of the keypoint branch: its layers against PyTorch, its targets and its loss by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from locations import GOLDEN

from mask_rcnn.layers.keypoints import KeypointHeatmaps, KeypointLoss
from mask_rcnn.losses import keypoint_loss
from mask_rcnn.networks.keypoints import keypoint_head
from mask_rcnn.ops.keypoints import keypoint_cells
from mask_rcnn.targets import keypoint_targets

ROI = [10.0, 20.0, 18.0, 60.0]  # 8 high, 40 wide: a grid of 4 x 4 has cells of 2 x 10
KNOWN = 2.0


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "keypoints.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def cell(y, x, visibility=KNOWN, roi=ROI, size=4):
    """Returns (cell, counts) of one point in one RoI."""
    cells, counts = keypoint_cells(tf.constant([[[y, x, visibility]]]), tf.constant([roi]), size)
    return int(cells[0, 0]), bool(counts[0, 0])


def test_the_head_has_eight_convolutions_of_512_and_a_deconvolution_to_the_keypoints():
    head = keypoint_head(256)
    assert head.input_shape == (None, 14, 14, 256)
    assert head.output_shape == (None, 56, 56, 17)
    names = [*(f"conv{i}" for i in range(1, 9)), "deconv"]
    assert [layer.name for layer in head.layers if layer.weights] == names
    convs = 9 * 256 * 512 + 7 * 9 * 512 * 512 + 8 * 512
    assert head.count_params() == convs + 16 * 512 * 17 + 17


def test_all_cells_are_about_equally_likely_at_first():
    heatmaps = keypoint_head(8, channels=16)(tf.random.stateless_uniform([2, 14, 14, 8], (0, 1)))
    assert np.abs(heatmaps).max() < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_deconvolution_and_the_upsampling_are_pytorchs(golden, dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        head = keypoint_head(3, pool_size=5, convs=0, num_keypoints=4)
    finally:
        keras.config.set_dtype_policy(before)
    head.get_layer("deconv").set_weights(
        [golden["deconv_kernel"].transpose(2, 3, 1, 0), golden["deconv_bias"]]
    )
    heatmaps = head(golden["features"].astype(dtype)).numpy()
    assert heatmaps.dtype == dtype
    error = np.abs(heatmaps - golden["upsampled"]).max() / np.abs(golden["upsampled"]).max()
    assert error < 1e-6  # TensorFlow always interpolates in float32


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((10, 20), 0),  # the first corner
        ((11.9, 29.9), 0),
        ((12, 20), 4),  # the next row
        ((10, 30), 1),  # the next column
        ((17, 45), 3 * 4 + 2),
        ((18, 60), 15),  # the far edge belongs to the last cell
    ],
)
def test_a_keypoint_is_one_cell_of_its_roi(point, expected):
    assert cell(*point) == (expected, True)


@pytest.mark.parametrize("point", [(9.9, 30), (18.1, 30), (12, 19.9), (12, 60.1), (1e12, 1e12), (-1e12, 30)])
def test_a_keypoint_outside_the_roi_does_not_count(point):
    assert cell(*point) == (0, False)


def test_an_unknown_keypoint_does_not_count_but_a_hidden_one_does():
    assert cell(17, 45, visibility=0.0) == (0, False)
    assert cell(17, 45, visibility=1.0) == (14, True)


def test_padding_counts_nowhere():
    assert cell(0, 0, roi=[0.0, 0.0, 0.0, 0.0]) == (0, False)


def test_no_rois_have_no_cells():
    cells, counts = keypoint_cells(tf.zeros([0, 17, 3]), tf.zeros([0, 4]), 56)
    assert cells.shape == counts.shape == (0, 17)


def test_each_roi_gets_the_keypoints_of_its_object_in_its_image():
    nose, tail, lost = [11.0, 21, 2], [17.0, 59, 1], [0.0, 0, 0]
    batch = {"gt_keypoints": tf.constant([[[nose, lost], [lost, tail]], [[tail, nose], [lost, lost]]])}
    rois = tf.constant([[ROI, ROI, ROI]] * 2)
    cells, counts = keypoint_targets(rois, tf.constant([[0, 1, 0], [1, 0, 0]]), batch, size=4)
    np.testing.assert_array_equal(cells, [[[0, 0], [0, 15], [0, 0]], [[0, 0], [15, 0], [15, 0]]])
    np.testing.assert_array_equal(counts, [[[1, 0], [0, 1], [1, 0]], [[0, 0], [1, 1], [1, 1]]])


def test_undecided_heatmaps_cost_the_logarithm_of_their_cells():
    loss = keypoint_loss(tf.zeros([1, 2, 3136, 3]), tf.zeros([1, 2, 3], tf.int32), tf.ones([1, 2, 3], bool))
    np.testing.assert_allclose(loss, [[6 * math.log(3136), 6]], rtol=1e-6)


def test_the_loss_is_summed_over_the_keypoints_of_an_image_that_count():
    sure = [math.log(3), 0.0]  # softmax 3/4, 1/4
    logits = tf.transpose(tf.constant([[[sure, sure], [sure, [1e9, -1e9]]]]), [0, 1, 3, 2])  # [1, 2, C, J]
    logits = tf.concat([logits, logits], axis=0)
    cells = tf.constant([[[0, 1], [0, 1]]] * 2)
    counts = tf.constant([[[True, True], [True, False]], [[False, True], [False, False]]])
    expected = [[2 * math.log(4 / 3) + math.log(4), 3], [math.log(4), 1]]
    np.testing.assert_allclose(keypoint_loss(logits, cells, counts), expected, rtol=1e-6)


def test_without_a_keypoint_that_counts_loss_and_gradient_are_zero():
    logits = tf.random.stateless_normal([1, 2, 9, 3], (0, 1))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = keypoint_loss(logits, tf.zeros([1, 2, 3], tf.int32), tf.zeros([1, 2, 3], bool))
    assert loss.numpy().tolist() == [[0, 0]]
    assert not tape.gradient(loss, logits).numpy().any()


def test_heatmaps_of_half_precision_have_a_float32_loss():
    logits = tf.zeros([1, 1, 4, 2], tf.bfloat16)
    assert keypoint_loss(logits, tf.zeros([1, 1, 2], tf.int32), tf.ones([1, 1, 2], bool)).dtype == tf.float32


def test_negative_rois_have_no_keypoint_loss_and_the_weight_counts():
    heatmaps = tf.random.stateless_normal([2, 4, 4, 2], (0, 1))
    positives = {"rois": tf.constant([[ROI, ROI]]), "matched": tf.zeros([1, 2], tf.int32)}
    batch = {"gt_keypoints": tf.constant([[[[11.0, 21, 2], [17.0, 59, 1]]]])}

    def loss(*positive, weight=1.0):
        return KeypointLoss(weight)(
            heatmaps, positives | {"positive": tf.constant([positive])}, batch
        ).numpy()

    expected = [
        sum([np.log(np.exp(map_).sum()) - map_[cell] for map_, cell in zip(maps, (0, 15), strict=True)])
        for maps in heatmaps.numpy().reshape(2, 16, 2).transpose(0, 2, 1)
    ]
    np.testing.assert_allclose(loss(True, False), [[expected[0], 2]], rtol=1e-6)
    np.testing.assert_allclose(loss(False, True), [[expected[1], 2]], rtol=1e-6)
    np.testing.assert_allclose(loss(True, True), [[sum(expected), 4]], rtol=1e-6)
    np.testing.assert_allclose(loss(True, True, weight=0.5), [[sum(expected) / 2, 4]], rtol=1e-6)
    assert loss(False, False).tolist() == [[0, 0]]


def test_heatmaps_find_their_image_again():
    heatmaps = tf.reshape(tf.range(6.0), [6, 1, 1, 1])
    found = KeypointHeatmaps()(heatmaps, tf.zeros([2, 3, 4]))
    assert found.shape == (2, 3, 1, 1, 1)
    np.testing.assert_array_equal(found[1, :, 0, 0, 0], [3, 4, 5])


def test_the_layers_are_saved_with_their_arguments():
    assert KeypointLoss.from_config(KeypointLoss(0.25).get_config()).weight == 0.25
    assert KeypointHeatmaps.from_config(KeypointHeatmaps(name="maps").get_config()).name == "maps"
