"""Tests of keypoint decoding, by hand and against torchvision's results for the same heatmaps."""

import numpy as np
import pytest
from locations import GOLDEN

from mask_rcnn.postprocessing.keypoint_decode import decode_keypoints


def one_peak(row, column, height=10.0):
    heatmaps = np.zeros([1, 56, 56, 1], "float32")
    heatmaps[0, row, column, 0] = height
    return heatmaps


def decode_one(heatmaps, box):
    y, x, score = decode_keypoints(heatmaps, np.array([box], "float32"))[0, 0].tolist()
    return y, x, score


def test_in_a_box_of_the_heatmaps_size_a_keypoint_is_the_middle_of_its_cell():
    y, x, _ = decode_one(one_peak(3, 50), [100, 200, 156, 256])
    assert (y, x) == (103.5, 250.5)


def test_a_box_of_fractions_is_divided_into_whole_parts():
    # 27.5 high: 28 parts of 27.5 / 28; cells 30 and 31 are the 16th of them. 56 wide: as it is.
    heatmaps = one_peak(30, 7) + one_peak(31, 7)
    y, x, _ = decode_one(heatmaps, [0.25, 0, 27.75, 56])
    assert y == pytest.approx(0.25 + 15.5 * 27.5 / 28, abs=1e-5)
    assert x == 7.5


def test_in_a_larger_box_a_keypoint_lies_between_the_cells():
    y, _, _ = decode_one(one_peak(30, 7) + one_peak(31, 7, height=9.9), [0, 0, 560, 560])
    assert 305 < y < 310  # the first cell's center is 305, the border between them 310


def test_the_score_is_the_share_of_the_softmax_over_the_cells():
    _, _, score = decode_one(one_peak(3, 50, height=np.log(3136)), [0, 0, 56, 56])
    assert score == pytest.approx(3136 / (3136 + 3135), rel=1e-5)


def test_a_box_without_size_has_its_keypoints_at_its_corner():
    y, x, score = decode_one(one_peak(3, 50), [5, 6, 5, 6])
    assert (y, x) == (5.5, 6.5) and np.isfinite(score)


def test_no_detections_have_no_keypoints():
    assert decode_keypoints(np.zeros([0, 56, 56, 17], "float32"), np.zeros([0, 4])).shape == (0, 17, 3)


def test_keypoints_are_those_of_torchvision():
    with np.load(GOLDEN / "keypoints.npz", allow_pickle=False) as golden:
        heatmaps, boxes = golden["heatmaps"].astype("float32"), golden["boxes"]
        points, logits = golden["points"], golden["scores"]
    found = decode_keypoints(heatmaps, boxes)
    np.testing.assert_allclose(found[..., :2], points, atol=1e-3)
    shares = np.exp(logits) / np.exp(heatmaps.astype("float64")).sum(axis=(1, 2))
    np.testing.assert_allclose(found[..., 2], shares, rtol=1e-4)


def test_keypoints_are_those_of_torchvisions_model(shared_data):
    with np.load(shared_data.parent / "parity" / "keypointrcnn_resnet50_fpn.outputs.npz") as peer:
        heatmaps = peer["keypoint_logits"].transpose(0, 2, 3, 1)
        boxes = peer["boxes_resized"][: len(heatmaps), [1, 0, 3, 2]]
        scale = np.divide((427, 640), peer["resized_size"])
        points = peer["keypoints"][: len(heatmaps), :, [1, 0]]
    found = decode_keypoints(heatmaps, boxes)[..., :2] * scale
    np.testing.assert_allclose(found, points, atol=1e-3)
