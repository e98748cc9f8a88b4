"""Compares detection in tiles with detection in the whole image, with a fake model without errors."""

import cv2
import numpy as np
import pytest
from blob_predictor import TILING, BlobPredictor, as_set, scene
from cli_fakes import run, write_image

from mask_rcnn.errors import UnreadableImage
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.structures import Category
from mask_rcnn.system.paths import as_path


@pytest.mark.parametrize("whole_image", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_tiles_find_what_the_whole_image_shows(seed, whole_image):
    predictor, image = BlobPredictor(), scene(seed, longest=100)
    tiled = TiledPredictor(predictor, TILING, whole_image)
    expected, found = predictor.predict(image), tiled.predict(image)
    assert len(found) == len(expected) > 4 and as_set(found) == as_set(expected)
    assert found.image_size == (150, 230) and (np.diff(found.scores) <= 0).all()


def test_small_objects_that_the_whole_image_does_not_show_are_found():
    predictor, image = BlobPredictor(smallest=400), scene()
    found = TiledPredictor(predictor, TILING).predict(image)
    assert len(predictor.predict(image)) < len(found) == len(BlobPredictor().predict(image))


def test_an_object_that_no_tile_understands_comes_from_the_whole_image():
    class Nearsighted(BlobPredictor):
        def postprocess(self, outputs, resize, score_threshold=0.0):
            found = super().postprocess(outputs, resize)
            return found if max(resize) > 64 else found.select(found.scores < 3000 / 1e6)

    image = np.zeros((150, 230, 3), "uint8")
    image[10:140, 10:220] = 1
    image[2:8, 2:8] = 2
    for whole_image in (True, False):
        tiled = TiledPredictor(Nearsighted(), Tiling(size=64, overlap=0), whole_image)
        large = tiled.predict(image)
        sizes = [mask.sum() for mask in large.masks]
        assert (130 * 210 in sizes) == whole_image and sizes.count(36) == 1


def test_an_image_that_is_not_larger_than_a_tile_is_detected_as_without_tiles(tiny_parts, tiny_config):
    predictor = Predictor(tiny_parts, tiny_config, (Category(1, "a"), Category(2, "b"), Category(3, "c")))
    image = np.random.default_rng(0).integers(0, 256, (64, 50, 3)).astype("uint8")
    one, other = predictor.predict(image), TiledPredictor(predictor, TILING).predict(image)
    assert len(one) > 0
    for name in ("boxes", "scores", "class_ids", "mask_origins"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for mine, its in zip(one.masks, other.masks, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_images_in_another_file_system_are_read(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene()[..., ::-1])
    remote = as_path(f"ram://{tmp_path}/a.png")
    remote.write(tmp_path / "a.png")
    tiled = TiledPredictor(BlobPredictor(), TILING)
    expected = as_set(tiled.predict(scene()))
    assert len(expected) > 4
    assert as_set(tiled.predict(remote)) == as_set(tiled.predict(str(remote))) == expected


def test_many_images_come_in_order_and_each_file_is_decoded_once(tmp_path, monkeypatch):
    decoded = []

    def read(path, *options, convert):
        decoded.append(path)
        return cv2.imread(str(path))[..., ::-1]

    monkeypatch.setattr("mask_rcnn.data.image_io.image_windows.read_samples", read)
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        cv2.imwrite(str(path), scene(seed)[..., ::-1])
    predictor = BlobPredictor()
    tiled = TiledPredictor(predictor, TILING)
    sources = [paths[0], scene(7, (30, 50), 5, 10), paths[1], paths[2]]
    results = list(tiled.predict_many(sources, batch_size=4))
    assert [source is given for (source, _), given in zip(results, sources, strict=True)] == [True] * 4
    assert decoded == paths
    for (_, found), image in zip(results, [scene(0), sources[1], scene(1), scene(2)], strict=True):
        assert as_set(found) == as_set(BlobPredictor().predict(image))
    assert predictor.shapes.count((64, 64)) == 3 * len(TILING.windows((150, 230)))
    assert predictor.shapes.count((150, 230)) == 3 and predictor.shapes.count((30, 50)) == 1


def test_a_bad_image_fails_alone(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    cut_off = tmp_path / "cut_off.png"
    cv2.imwrite(str(cut_off), np.random.default_rng(0).integers(0, 255, (150, 230, 3)))
    cut_off.write_bytes(cut_off.read_bytes()[:50_000])
    sources = [scene(), bad, cut_off, tmp_path / "absent.png", scene()[..., 0], scene()]
    results = [result for _, result in TiledPredictor(BlobPredictor(), TILING).predict_many(sources)]
    assert [isinstance(result, UnreadableImage) for result in results] == [False, *[True] * 4, False]
    for result, name in zip(results[1:4], ("bad.png", "cut_off.png", "absent.png"), strict=True):
        assert name in str(result)
    with pytest.raises(UnreadableImage, match="absent.png"):
        TiledPredictor(BlobPredictor(), TILING).predict(tmp_path / "absent.png")


def test_finish_gets_the_pixels_of_the_whole_image(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), scene()[..., ::-1])

    def finish(source, detections, pixels):
        return source, len(detections), pixels()

    for keep in (True, False):
        results = TiledPredictor(BlobPredictor(), TILING).predict_many(
            [path], finish=finish, keep_images=keep
        )
        ((_, (source, count, pixels)),) = results
        assert source == path and count > 8
        np.testing.assert_array_equal(pixels, scene())
    ((_, error),) = TiledPredictor(BlobPredictor(), TILING).predict_many([path], finish=lambda *_: 1 / 0)
    assert isinstance(error, ZeroDivisionError)


def test_more_objects_count_in_an_image_of_more_tiles():
    predictor = BlobPredictor()
    tiled = TiledPredictor(predictor, TILING)
    limit = predictor.config.box_head.max_detections
    assert ImagePredictor.max_detections(predictor, (150, 230)) == limit == tiled.max_detections((64, 64))
    assert tiled.max_detections((150, 230)) == limit * (3 * 5 + 1)


def test_detect_takes_tiles(blobs, tmp_path, capsys):
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), scene()[..., ::-1])
    words = ["detect", image, "--weights", "w.h5", "--no-pictures", "--score-threshold", "0"]
    assert run(*words) == 0
    expected = capsys.readouterr().out
    for more in ((), ("--tile-overlap", "0.5"), ("--no-tile-whole-image",)):
        assert run(*words, "--tile", "64", *more) == 0
        assert sorted(capsys.readouterr().out.split()) == sorted(expected.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tile-overlap", "0.1"), "--tile-overlap needs --tile. Received: no --tile."),
        (("--tile-whole-image",), "--tile-whole-image needs --tile. Received: no --tile."),
        (("--tile", "8"), "32 or more. Received: 8"),
        (("--tile", "64", "--tile-overlap", "20"), "Received: 20.0. Give 0.2 for 20 %."),
    ],
)
def test_options_that_make_no_sense_are_errors(options, message, blobs, tmp_path, capsys):
    assert run("detect", write_image(tmp_path / "a.png"), "--weights", "w.h5", *options) == 2
    assert message in capsys.readouterr().err
