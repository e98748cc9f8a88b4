"""Compares models that have published weights with the original implementations, stage by stage.

The README of the fixtures defines the tolerances. The original models were run in float64. The comparison in
float64 distinguishes a wrong convention from rounding.
"""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from parity_run import XYXY, Peer, Run

from mask_rcnn.model_zoo.convert import swap_xy

SCORE_MARGIN = 0.02  # a detection so close to the score threshold may be missing or added


class ParityTests:
    """Tests of all models. A test file has a subclass `Test...` for each fixture.

    Attributes:
        fixture: Name of the fixture, which is also that of the preset.
    """

    fixture = ""

    @pytest.fixture(scope="class")
    @classmethod
    def peer(cls):
        return Peer(cls.fixture)

    @pytest.fixture(scope="class", params=["float32", "float64"])
    @classmethod
    def run(cls, peer, request):
        return Run(peer, request.param)

    @pytest.fixture
    def tolerance(self, run):
        """Tolerance for maps, relative to the largest value."""
        return 1e-6 if run.exact else 5e-4

    @pytest.fixture
    def head_tolerance(self, run):
        """Tolerance for outputs of a head on the original model's features, relative to the largest value."""
        return 1e-6 if run.exact else 1e-5

    @pytest.fixture
    def roi_tolerance(self, run):
        """Tolerance for outputs on the original model's RoIs, whose pooling is float32 in every run."""
        return 1e-4 if run.exact else 5e-4

    def test_the_resized_and_normalized_input_agrees(self, run, peer):
        ours = run.outputs["normalized"]
        assert ours.shape[1:3] == tuple(peer["input.shape"][1:])
        assert np.abs(channels_first(ours[0])[:, 64:96, 64:96] - peer.pixels("input.crop")).max() <= 1e-5
        if "resized_u8_bgr.crop" in peer:
            crop = run.batch["images"][0, 64:96, 64:96, ::-1]
            np.testing.assert_array_equal(crop, peer["resized_u8_bgr.crop"])

    def test_maps_agree(self, run, peer, tolerance):
        for name in [key.removesuffix(".mean") for key in peer.arrays if key.endswith(".mean")]:
            ours, stride = channels_first(run.outputs[name][0]), int(peer[f"{name}.stride"])
            assert ours.shape == tuple(peer[f"{name}.shape"])
            assert relative_error(ours[:, ::stride, ::stride], peer[name]) <= tolerance, name
            limit = tolerance * np.abs(peer[name]).max()  # of the complete map, not of the subsampled one
            assert np.abs(ours.mean((1, 2)) - peer[f"{name}.mean"]).max() <= limit, name
            assert np.abs(ours.std((1, 2), ddof=1) - peer[f"{name}.std"]).max() <= limit, name

    def test_rpn_maps_agree(self, run, peer, tolerance):
        for level, name in enumerate(peer.levels()):
            stride = int(peer[f"rpn.{name}.stride"])
            logits = run.outputs["rpn_logits"][level][0, ::stride, ::stride]
            deltas = run.outputs["rpn_deltas"][level][0, ::stride, ::stride]
            expected = np.moveaxis(swap_xy(np.moveaxis(peer[f"rpn_deltas.{name}"], -1, 0)), 0, -1)
            assert relative_error(logits, peer[f"rpn_logits.{name}"]) <= tolerance, name
            assert relative_error(deltas, expected) <= tolerance, name

    def test_anchors_agree(self, run, peer):
        for level, name in enumerate(peer.levels()):
            anchors = run.outputs["anchors"][level][:, XYXY]
            first, last = peer[f"anchors.{name}.first"], peer[f"anchors.{name}.last"]
            assert len(anchors) == int(peer[f"anchors.{name}.count"])
            np.testing.assert_allclose(anchors[: len(first)], first, atol=1e-3)
            np.testing.assert_allclose(anchors[-len(last) :], last, atol=1e-3)
            np.testing.assert_allclose(
                anchors.sum(0, dtype="float64"), peer[f"anchors.{name}.sum"], rtol=1e-7
            )

    def test_proposals_agree_as_a_set(self, run, peer):
        ours, theirs = run.outputs["proposals"][0], peer.boxes("proposals")
        distance = np.abs(ours[:, None] - theirs[None]).max(-1)  # [ours, theirs]
        limit, share = (0.01, 0.99) if run.exact else (1.5, 0.95)
        assert (distance.min(0) <= limit).mean() >= share
        assert (distance.min(1) <= limit).mean() >= share

    def test_rois_of_the_peer_are_pooled_as_it_pools_them(self, run, peer, roi_tolerance):
        expected = channels_last(peer["box_pooled"])
        rois = peer.boxes("proposals")[:: 1000 // len(expected)]
        pooled = run.pool(rois, "box_pool").numpy()
        assert relative_error(pooled, expected) <= roi_tolerance

    def test_the_box_head_agrees_on_the_peers_features(self, run, peer, head_tolerance):
        logits, deltas = run.box_head(channels_last(peer["box_pooled"]))
        assert relative_error(logits, peer.class_logits("pooled.class_logits")) <= head_tolerance
        assert relative_error(deltas, peer.box_deltas("pooled.box_deltas")) <= head_tolerance

    def test_the_box_head_agrees_on_rois_of_the_peer(self, run, peer, roi_tolerance):
        logits, deltas = run.box_head(run.pool(peer.boxes("proposals")[::16], "box_pool"))
        assert relative_error(logits, peer.class_logits("class_logits")) <= roi_tolerance
        assert relative_error(deltas, peer.box_deltas("box_deltas")) <= roi_tolerance

    def test_detections_agree(self, run, peer):
        matches, found = match_detections(run.detections, peer), run.detections
        threshold = peer.meta["score_threshold"] + SCORE_MARGIN
        assert all(i in matches or peer["scores"][i] < threshold for i in range(len(peer["scores"])))
        assert all(j in matches.values() or found.scores[j] < threshold for j in range(len(found)))
        assert len(matches) >= 0.9 * len(peer["scores"])


class MaskTests:
    """Additional tests for models with masks."""

    def test_the_mask_head_agrees_on_rois_of_the_peer(self, run, peer, roi_tolerance):
        pooled = run.roi_stage(run.pool(peer.boxes("boxes_resized"), "mask_pool"))
        expected = channels_last(peer["mask_pooled"])  # the first two RoIs, and at most 256 channels
        assert relative_error(pooled[:2, ..., : expected.shape[-1]].numpy(), expected) <= roi_tolerance
        logits = run.parts.heads["mask_head"]([pooled, tf.constant(peer.class_ids(), "int32")]).numpy()
        assert relative_error(logits, peer["mask_logits"]) <= roi_tolerance

    def test_pasted_masks_agree(self, run, peer):
        # torchvision truncates boxes to whole pixels. A corner that moves by 0.05 px in float32 can cross
        # one, and the noisy masks of random weights then move by a pixel (torchvision itself: 2 of 60). RoIs
        # are float32 in every run, and a corner of v2 is 0.00005 px from a whole pixel.
        different = []
        matches = match_detections(run.detections, peer)
        for i, j in matches.items():
            theirs, ours = peer.mask(i), run.detections.full_mask(j)
            pixels, union = (ours != theirs).sum(), (ours | theirs).sum()
            if pixels > 8 and pixels > 0.04 * union:
                different.append(i)
        assert len(different) <= (0.02 if run.exact else 0.1) * len(matches)


class KeypointTests:
    """Additional tests for models with keypoints."""

    def test_the_keypoint_head_agrees_on_rois_of_the_peer(self, run, peer, roi_tolerance):
        expected = channels_last(peer["keypoint_logits"])
        pooled = run.pool(peer.boxes("boxes_resized")[: len(expected)], "keypoint_pool")
        assert relative_error(run.parts.heads["keypoint_head"](pooled).numpy(), expected) <= roi_tolerance

    def test_keypoints_agree(self, run, peer):
        found, matches = run.detections.keypoints[..., :2], match_detections(run.detections, peer)
        # Pixel centers, while torchvision returns pixel indices.
        theirs = peer["keypoints"][..., :2] + (0.0 if peer.background_last else 0.5)
        distance = np.stack([np.abs(found[j] - theirs[i]).max(-1) for i, j in matches.items()])  # [M, J]
        boxes, heatmaps = run.outputs["boxes"][0], run.outputs["keypoint_heatmaps"][0]
        # Rounding changes each of two peaks by an amount that depends on the kernels.
        margin = 2 * max(
            heatmap_error(heatmaps[matches[i]], expected)
            for i, expected in enumerate(channels_last(peer["keypoint_logits"]))
            if i in matches
        )
        clear = np.stack([has_one_peak(heatmaps[j], boxes[j], margin) for j in matches.values()])
        assert clear.mean() >= 1 / 3  # in float64 nearly all of them
        assert distance[clear].max() <= 2


def heatmap_error(heatmaps, expected):
    """Returns the 99th percentile of the differences of heatmaps `[S, S, J]`, relative to their range."""
    return np.quantile(np.abs(heatmaps - expected) / np.ptp(expected, axis=(0, 1)), 0.99)


def has_one_peak(heatmaps, box, margin, radius=3):
    """Returns which keypoints have an unambiguous position.

    Args:
        heatmaps: `[S, S, J]`, logits on a grid that covers the box.
        box: `[4]`, yxyx, pixels.
        margin: Amount by which the maximum exceeds all other peaks, as a fraction of the map's range.
        radius: Distance from the maximum within which points belong to the same peak, pixels. Defaults to 3.

    Returns:
        `[J]` bool.
    """
    height, width = np.ceil(box[2:] - box[:2]).astype(int).tolist()
    clear = []
    for heatmap in np.moveaxis(heatmaps, -1, 0):
        enlarged = cv2.resize(heatmap.astype("float32"), (width, height), interpolation=cv2.INTER_CUBIC)
        row, column = np.unravel_index(np.argmax(enlarged), enlarged.shape)
        limit = enlarged.max() - margin * np.ptp(enlarged)
        rows, columns = np.nonzero(enlarged > limit)
        clear.append(max(np.abs(rows - row).max(), np.abs(columns - column).max()) <= radius)
    return np.array(clear)


def match_detections(found, peer):
    """Returns `{index in peer: index in found}` of detections that agree, each used once.

    They have the same class, boxes within 1.5 px, and scores within 0.02.
    """
    matches = {}
    theirs = zip(peer.boxes("boxes"), peer["scores"], peer.class_ids(), strict=True)
    for i, (box, score, class_id) in enumerate(theirs):
        fits = (
            (found.class_ids == class_id)
            & (np.abs(found.boxes - box).max(-1) <= 1.5)
            & (np.abs(found.scores - score) <= SCORE_MARGIN)
        )
        free = [j for j in np.flatnonzero(fits) if j not in matches.values()]
        if free:
            matches[i] = free[0]
    return matches


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


def channels_first(features):
    return np.moveaxis(features, -1, -3)


def channels_last(features):
    return np.moveaxis(features, -3, -1)
