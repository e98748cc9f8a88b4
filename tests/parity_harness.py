"""Our models with the weights of published ones against what those computed, stage by stage.

The fixtures and what agreement means: `../shared/parity/README.md`. The peers computed in float64, so that
our own float64 tells a wrong convention from rounding. `tests/parity` holds the two fixtures that every
test run uses; the others are read where they are.
"""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.data.images import read_image
from mask_rcnn.model import build_parts, dtype_policy, inference_model
from mask_rcnn.model_zoo.convert import convert, swap_xy
from mask_rcnn.predict import Predictor

PARITY = pathlib.Path(__file__).parent / "parity"
SHARED_PARITY = pathlib.Path(__file__).parents[2] / "shared" / "parity"
sys.path.insert(0, str(PARITY))
from parity_weights import load_state_dict  # noqa: E402

XYXY = [1, 0, 3, 2]  # turns yxyx into xyxy and back
SCORE_MARGIN = 0.02  # a detection this near to the threshold may be missing or extra


class Peer:
    """A fixture, its arrays turned into our layout: RGB, channels last, background first, (dy, dx, ...)."""

    def __init__(self, name):
        folder = next((x for x in (PARITY, SHARED_PARITY) if (x / f"{name}.outputs.npz").is_file()), None)
        if folder is None:
            pytest.skip(f"needs the fixture {name} in {SHARED_PARITY}")
        with np.load(folder / f"{name}.outputs.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        self.meta = json.loads(str(self.arrays["meta"]))
        self.state_dict = load_state_dict(folder / f"{name}.weights.npz")
        self.preset = importlib.import_module(f"mask_rcnn.model_zoo.{self.meta['peer']}").PRESETS[name]
        self.background_last = self.meta["background"] == "last class"

    def __getitem__(self, name):
        return self.arrays[name]

    def __contains__(self, name):
        return name in self.arrays

    def levels(self):
        """Names of the maps that have anchors."""
        return [name[len("rpn_logits.") :] for name in self.arrays if name.startswith("rpn_logits.")]

    def pixels(self, name):
        """`[3, H, W]` in RGB."""
        return self[name][::-1] if self.background_last else self[name]

    def class_logits(self, name):
        return np.roll(self[name], 1, axis=-1) if self.background_last else self[name]

    def box_deltas(self, name):
        """`[R, K * 4]`, (dy, dx, dh, dw), without the background."""
        deltas = swap_xy(self[name].T).T
        return deltas if self.background_last else deltas[:, 4:]

    def class_ids(self):
        return self["labels"] + 1 if self.background_last else self["labels"]

    def boxes(self, name):
        """`[N, 4]`, yxyx."""
        return self[name][:, XYXY]

    def mask(self, index):
        return np.unpackbits(self["masks.packed"][index], axis=-1, count=640).astype(bool)


class Run:
    """The fixture's image through our model, in one precision."""

    def __init__(self, peer, precision):
        self.exact = precision == "float64"
        config = peer.preset.config()
        with dtype_policy(precision):
            self.parts = build_parts(config)
            convert(self.parts, peer.state_dict, peer.preset.table, peer.preset.ignored)
            self.model = inference_model(self.parts, config, intermediates=True)
            predictor = Predictor(self.parts, config, peer.preset.categories)
        image = read_image(PARITY / "image_427x640.png")
        if self.exact and not peer.background_last:
            image = (image.astype("float32") / np.float32(255)).astype(
                "float64"
            ) * 255  # how torchvision starts
        self.batch, resize = predictor.preprocess(image)
        outputs = self.model(self.batch)
        for pooled in ("box_pooled", "mask_pooled"):  # hundreds of MB
            outputs.pop(pooled, None)
        self.outputs = tf.nest.map_structure(lambda x: x.numpy(), outputs)
        final = {name: tf.constant(self.outputs[name]) for name in predictor.model.output}
        self.detections = predictor.postprocess(final, resize)
        self.pyramid = [self.outputs[name] for name in peer.levels() if name != "P6"]

    def pool(self, boxes, layer):
        """Pools `[N, 4]` boxes from our own maps, for the head that `layer` is in front of."""
        return self.model.get_layer(layer)(self.pyramid, boxes[None])

    def roi_stage(self, pooled):
        """The features of a head: what the backbone's last stage makes of pooled ones, where there is one."""
        stage = getattr(self.parts, "roi_stage", None)
        return stage(pooled) if stage else pooled

    def box_head(self, pooled):
        """Returns logits and, without those of the background, deltas."""
        logits, deltas = self.parts.box_head(self.roi_stage(pooled))
        return logits.numpy(), deltas.numpy()[:, 4:]


class ParityTests:
    """A test file has a subclass `Test...` for each fixture.

    Attributes:
        fixture: its name, which is the preset's too.
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
        """Of the largest value of a map."""
        return 1e-6 if run.exact else 5e-4

    @pytest.fixture
    def head_tolerance(self, run):
        """Of the largest value of what a head makes of the peer's own features."""
        return 1e-6 if run.exact else 1e-5

    @pytest.fixture
    def roi_tolerance(self, run):
        """Of what RoIs of the peer's are on our maps: they and their pooling are float32 in every run."""
        return 1e-4 if run.exact else 5e-4

    def test_the_resized_and_normalised_input_agrees(self, run, peer):
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
            limit = tolerance * np.abs(peer[name]).max()  # of the whole map, which the subsampled can't show
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
    """More, where there are masks."""

    def test_the_mask_head_agrees_on_rois_of_the_peer(self, run, peer, roi_tolerance):
        pooled = run.roi_stage(run.pool(peer.boxes("boxes_resized"), "mask_pool"))
        expected = channels_last(peer["mask_pooled"])  # the first two, and of many channels the first 256
        assert relative_error(pooled[:2, ..., : expected.shape[-1]].numpy(), expected) <= roi_tolerance
        logits = run.parts.mask_head([pooled, tf.constant(peer.class_ids(), "int32")]).numpy()
        assert relative_error(logits, peer["mask_logits"]) <= roi_tolerance

    def test_pasted_masks_agree(self, run, peer):
        # In float32 a corner that moves by 0.05 px can cross a whole pixel, to which torchvision cuts boxes:
        # the noisy masks of random weights then move by that pixel (torchvision itself: 2 of 60).
        different = []
        matches = match_detections(run.detections, peer)
        for i, j in matches.items():
            theirs, ours = peer.mask(i), run.detections.full_mask(j)
            pixels, union = (ours != theirs).sum(), (ours | theirs).sum()
            if pixels > 8 and pixels > 0.04 * union:
                different.append(i)
        assert len(different) <= (0 if run.exact else 0.1 * len(matches))


class KeypointTests:
    """More, where there are keypoints."""

    def test_the_keypoint_head_agrees_on_rois_of_the_peer(self, run, peer, roi_tolerance):
        expected = channels_last(peer["keypoint_logits"])
        pooled = run.pool(peer.boxes("boxes_resized")[: len(expected)], "keypoint_pool")
        assert relative_error(run.parts.keypoint_head(pooled).numpy(), expected) <= roi_tolerance

    def test_keypoints_agree(self, run, peer):
        matches = match_detections(run.detections, peer)
        found = run.detections.keypoints
        distance = np.stack(
            [np.abs(found[j, :, :2] - peer["keypoints"][i, :, :2]) for i, j in matches.items()]
        )
        clear = np.stack([has_one_peak(run.outputs["keypoint_heatmaps"][0, j]) for j in matches.values()])
        assert clear.mean() >= 0.5
        assert distance.max(-1)[clear].max() <= 2


def has_one_peak(heatmaps, margin=0.02):
    """`[J]`: whether the highest peak of each `[S, S, J]` map stands out, by a share of the map's range."""
    around = np.pad(heatmaps, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(0, 1)).max((-1, -2))
    peaks = np.where(heatmaps == windows, heatmaps, -np.inf).reshape(-1, heatmaps.shape[-1])  # [S S, J]
    second, first = np.sort(peaks, axis=0)[-2:]
    return first - second > margin * (heatmaps.max((0, 1)) - heatmaps.min((0, 1)))


def match_detections(found, peer):
    """Returns `{theirs: ours}` of the same class within 1.5 px and 0.02 of the score, each used once."""
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
