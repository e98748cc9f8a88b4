"""Tests of test-time augmentation: merging by hand, and with fake models that find what is visible."""

import sys
import types

import numpy as np
import pytest
from blob_predictor import TILING, BlobPredictor, as_set, scene
from cli_fakes import FakePredictor, run, write_image

from mask_rcnn.data.transforms import scaled_input
from mask_rcnn.model_zoo.registry import find
from mask_rcnn.postprocessing.augmentation_merge import merge_views, mirror_detections
from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.structures import Detections

SIZE = (20, 40)


def found(*objects, **fields):
    """Returns `Detections` of (y1, x1, y2, x2, score, class id). Each mask fills its box."""
    boxes = np.array([each[:4] for each in objects], "float32").reshape(-1, 4)
    corners = boxes.astype(int)
    return Detections(
        boxes=boxes,
        scores=[each[4] for each in objects],
        class_ids=[each[5] for each in objects],
        image_size=SIZE,
        masks=[np.ones((y2 - y1, x2 - x1), bool) for y1, x1, y2, x2 in corners],
        mask_origins=corners[:, :2],
        **fields,
    )


def test_views_of_an_object_become_its_best_box():
    views = [found((0, 0, 10, 10, 0.6, 1), (5, 20, 15, 30, 0.5, 2)), found((0, 1, 10, 11, 0.9, 1)), found()]
    merged = merge_views(views, 0.5, 100)
    assert merged.boxes.tolist() == [[0, 1, 10, 11], [5, 20, 15, 30]]
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5]) and merged.class_ids.tolist() == [1, 2]


def test_boxes_of_other_classes_and_of_other_places_stay():
    merged = merge_views(
        [found((0, 0, 10, 10, 0.9, 1)), found((0, 0, 10, 10, 0.8, 2), (0, 6, 10, 16, 0.7, 1))], 0.5, 9
    )
    assert merged.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_a_pixel_is_in_the_mask_if_half_of_the_views_by_weight_have_it():
    views = [found((0, 0, 10, 10, 0.5, 1)), found((0, 2, 10, 10, 0.3, 1)), found((0, 0, 10, 9, 0.3, 1))]
    merged = merge_views(views, 0.5, 100)  # columns 0..1 have 0.8 of 1.1, as has column 9
    assert merged.full_mask(0)[:10, :10].all() and merged.full_mask(0).sum() == 100
    views[1:] = [found((0, 2, 10, 9, 0.4, 1)), found((0, 2, 10, 9, 0.4, 1))]  # now 0.5 of 1.3
    merged = merge_views(views, 0.5, 100)
    assert merged.mask_origins.tolist() == [[0, 2]] and merged.masks[0].shape == (10, 7)
    assert merged.boxes.tolist() == [[0, 0, 10, 10]]


def test_a_view_counts_once_for_an_object():
    twice = found((0, 2, 10, 10, 0.8, 1), (0, 2, 10, 9, 0.7, 1))  # both overlap the best detection
    merged = merge_views([found((0, 0, 10, 10, 0.9, 1)), twice], 0.5, 100)
    assert len(merged) == 1 and merged.masks[0].shape == (10, 10)  # columns 0..1: weight 0.9 for, 0.8 against


def test_keypoints_are_means_by_weight():
    points = np.array([[[1.0, 2.0, 4.0], [3.0, 5.0, 8.0]]])
    views = [
        found((0, 0, 10, 10, 0.75, 1), keypoints=points),
        found((0, 0, 10, 10, 0.25, 1), keypoints=points + 4),
    ]
    np.testing.assert_allclose(merge_views(views, 0.5, 100).keypoints, points + 1, rtol=1e-6)


def test_agreement_is_the_share_of_the_other_views_that_have_the_box():
    views = [
        found((0, 0, 10, 10, 0.9, 1), (0, 20, 10, 30, 0.8, 1)),
        found((0, 0, 10, 10, 0.6, 1)),
        found((0, 0, 10, 7, 0.7, 1)),  # IoU 0.7: the same object, shifted
    ]
    assert merge_views(views, 0.5, 100).attributes["agreement"].tolist() == [0.5, 0]
    assert "agreement" not in merge_views(views[:1], 0.5, 100).attributes


def test_only_the_best_objects_are_kept():
    views = [found(*((0, 12 * i, 10, 12 * i + 10, 0.5 + 0.1 * i, 1) for i in range(3)))] * 2
    assert merge_views(views, 0.5, 2).scores.tolist() == pytest.approx([0.7, 0.6])


def test_views_without_objects_have_none():
    assert len(merge_views([found(), found()], 0.5, 100)) == 0


def test_objects_without_area_or_score_are_kept_once():
    empty = Detections(
        [[3, 3, 3, 3]], [0.0], [1], SIZE, masks=[np.zeros((0, 0), bool)], mask_origins=[[3, 3]]
    )
    merged = merge_views([empty], 0.5, 100)
    assert len(merged) == 1 and merged.masks[0].size == 0


def test_a_mirror_moves_boxes_masks_and_keypoints():
    points = np.array([[[1.0, 2.0, 0.5], [7.0, 3.0, 0.6]]])
    one = found((2, 0, 10, 8, 0.9, 1), keypoints=points)
    one.masks[0][0, 0] = False
    mirrored = mirror_detections(one, np.array([1, 0]))
    assert mirrored.boxes.tolist() == [[2, 32, 10, 40]]
    np.testing.assert_array_equal(mirrored.full_mask(0), one.full_mask(0)[:, ::-1])
    np.testing.assert_allclose(mirrored.keypoints, [[[33, 3, 0.6], [39, 2, 0.5]]], rtol=1e-6)
    back = mirror_detections(mirrored, np.array([1, 0]))
    np.testing.assert_array_equal(back.boxes, one.boxes)
    np.testing.assert_array_equal(back.full_mask(0), one.full_mask(0))


def test_mirrored_views_and_tiles_find_what_a_perfect_model_finds():
    predictor, image = BlobPredictor(), scene()
    expected = predictor.predict(image)
    augmented = AugmentedPredictor(predictor)
    assert as_set(augmented.predict(image)) == as_set(expected)
    assert as_set(TiledPredictor(augmented, TILING).predict(image)) == as_set(expected)


def test_an_object_that_one_view_shows_is_found():
    class LeftHalf(BlobPredictor):
        def postprocess(self, outputs, resize, score_threshold=0.0):
            every = super().postprocess(outputs, resize)
            return every.select(every.boxes[:, 3] <= resize[1] / 2)

    image = scene()
    expected = BlobPredictor().predict(image)
    halves = expected.select((expected.boxes[:, 3] <= 115) | (expected.boxes[:, 1] >= 115))
    assert as_set(AugmentedPredictor(LeftHalf()).predict(image)) == as_set(halves)
    alone = AugmentedPredictor(LeftHalf(), horizontal_flip=False).predict(image)
    assert as_set(alone) == as_set(LeftHalf().predict(image)) < as_set(halves)


def test_a_threshold_is_applied_after_merging():
    sources = [scene()] * 3
    scores = BlobPredictor().predict(sources[0]).scores
    results = AugmentedPredictor(BlobPredictor()).predict_many(
        sources, batch_size=2, score_threshold=scores[3]
    )
    assert [len(each) for _, each in results] == [(scores >= scores[3]).sum()] * 3


def test_a_scale_changes_the_size_of_the_model_s_input(tiny_parts, tiny_config, tiny_categories):
    predictor = Predictor(tiny_parts, tiny_config, tiny_categories)
    image = np.random.default_rng(0).integers(0, 256, (64, 90, 3)).astype("uint8")
    augmented = AugmentedPredictor(predictor, (1.0, 1.5))
    inputs, resizes = augmented.preprocess(image)
    assert [each["images"].shape[1:3] for each in inputs] == [(64, 96)] * 2 + [(96, 160)] * 2
    assert [each.resized for each in resizes] == [(64, 90)] * 2 + [(96, 135)] * 2
    np.testing.assert_array_equal(inputs[1]["images"][0, :, :90], inputs[0]["images"][0, :, :90][:, ::-1])
    objects = augmented.predict(image)
    assert 0 < len(objects) <= tiny_config.box_head.max_detections and objects.image_size == (64, 90)
    assert predictor.config == tiny_config


def test_the_usual_size_alone_is_the_predictor(tiny_parts, tiny_config, tiny_categories):
    predictor = Predictor(tiny_parts, tiny_config, tiny_categories)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype("uint8")
    one, other = predictor.predict(image), AugmentedPredictor(predictor, horizontal_flip=False).predict(image)
    assert as_set(one) == as_set(other) and len(one) > 0
    np.testing.assert_array_equal(one.scores, other.scores)


def test_fixed_paddings_grow_with_the_image():
    settings = find("matterport/mask_rcnn_coco").config.input
    larger = scaled_input(settings, 1.5)
    assert (larger.short_side, larger.long_side, larger.padded_size) == (1200, 1536, (1536, 1536))


@pytest.mark.parametrize("scales", [(), (1.0, 1.0), (0.0,), (-1.0, 1.0)])
def test_wrong_scales_are_an_error(scales):
    with pytest.raises(ValueError, match="different numbers above 0"):
        AugmentedPredictor(BlobPredictor(), scales)


@pytest.fixture
def predictor(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )


@pytest.mark.parametrize(("options", "count"), [((), 1), (("--tta",), 2), (("--tta", "--no-tta-flip"), 1)])
def test_detect_merges_views(predictor, tmp_path, options, count):
    write_image(tmp_path / "a.png")
    words = ("--weights", "w.h5", "--no-pictures", "--json", tmp_path / "found.json", *options)
    assert run("detect", tmp_path / "a.png", *words) == 0
    assert (tmp_path / "found.json").read_text().count("bbox") == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tta-scales", "1,2"), "need --tta"),
        (("--no-tta-flip",), "need --tta"),
        (("--tta", "--tta-scales", "1;2"), "numbers separated by commas"),
        (("--tta", "--tta-scales", "1,2"), "a scale of 2"),
    ],
)
def test_wrong_options_are_an_error(predictor, tmp_path, capsys, options, message):
    write_image(tmp_path / "a.png")
    assert run("detect", tmp_path / "a.png", "--weights", "w.h5", "--no-pictures", *options) == 2
    assert message in capsys.readouterr().err
