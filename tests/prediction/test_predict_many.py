"""Tests of detection in many images: order, batches, failures, bounded memory, and all replicas."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tiny_model
from cli_fakes import FakePredictor, write_image
from locations import HELPERS

from mask_rcnn.errors import UnreadableImage
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category

CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))


def picture(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, [height, width, 3]).astype("uint8")


def gray(value, height=32):
    return np.full((height, 48, 3), value, "uint8")


class Recorder(FakePredictor):
    """Records the batches of the model, as lists of the first pixel value of each image."""

    def __init__(self, failing=()):
        super().__init__()
        self.batches, self.failing = [], failing

    def detect_batch(self, inputs):
        values = [int(image[0, 0, 0]) for image in inputs]
        self.batches.append(values)
        if set(values) & set(self.failing):
            raise RuntimeError("the model fails")
        return super().detect_batch(inputs)


def assert_same_detections(one, other, atol):
    np.testing.assert_array_equal(one.class_ids, other.class_ids)
    np.testing.assert_allclose(one.scores, other.scores, atol=atol)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=100 * atol)
    different = sum((mine != its).sum() for mine, its in zip(one.masks, other.masks, strict=True))
    assert different <= 1e-3 * sum(mask.size for mask in one.masks)


def test_batches_give_the_detections_of_single_images_in_the_order_of_the_images(tiny_config):
    parts = tiny_model.make_parts(tiny_config)
    for layer in (parts.rpn_head.get_layer("objectness"), parts.box_head.get_layer("class_logits")):
        layer.kernel.assign(layer.kernel / 6)  # otherwise rounding changes scores by 1e-5
    predictor = Predictor(parts, tiny_config, CATEGORIES)
    sizes = [(64, 96), (96, 64), (120, 180), (64, 96), (50, 50), (96, 64), (64, 96)]
    images = [picture(seed, *size) for seed, size in enumerate(sizes)]
    found = list(predictor.predict_many(images, batch_size=3))
    assert [id(source) for source, _ in found] == [id(image) for image in images]
    for image, (_, detections) in zip(images, found, strict=True):
        # A convolution of a batch adds in another order: results differ in the last bits of float32.
        assert_same_detections(detections, predictor.predict(image), atol=1e-5)


def test_images_of_equal_shapes_share_a_batch_and_none_waits_longer_than_the_window():
    predictor = Recorder()
    images = [gray(number, height=32 if number % 2 else 40) for number in range(8)]
    images += [gray(8, height=64), *(gray(number) for number in range(9, 33))]
    found = list(predictor.predict_many(images, batch_size=4))
    assert [source[0, 0, 0] for source, _ in found] == list(range(33))
    assert predictor.batches[:2] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert sorted(map(len, predictor.batches)) == [1, 4, 4, 4, 4, 4, 4, 4, 4]
    place = predictor.batches.index([8])
    assert sum(map(len, predictor.batches[2:place])) <= 4 * 4  # WINDOW_BATCHES * batch_size


def test_one_bad_image_fails_alone(tmp_path):
    good, bad = write_image(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    sources = [good, bad, tmp_path / "absent.png", gray(1)[..., 0], good]
    results = [result for _, result in Recorder().predict_many(sources, batch_size=2)]
    assert [isinstance(result, UnreadableImage) for result in results] == [False, True, True, True, False]
    for result, text in zip(results[1:4], ("bad.png", "absent.png", r"shape=(32, 48)"), strict=True):
        assert text in str(result)


def test_an_image_that_the_model_fails_at_fails_alone_in_its_batch():
    predictor = Recorder(failing=[2])
    results = [result for _, result in predictor.predict_many(map(gray, range(6)), batch_size=3)]
    assert [isinstance(result, RuntimeError) for result in results] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert predictor.batches == [[0, 1, 2], [0], [1], [2], [3, 4, 5]]


def test_an_error_of_finish_is_the_result_of_its_image():
    def finish(source, detections, pixels):
        return 1 / int(pixels()[0, 0, 0])

    results = [result for _, result in Recorder().predict_many(map(gray, (1, 0, 2)), finish=finish)]
    assert results[0] == 1 and results[2] == 0.5 and isinstance(results[1], ZeroDivisionError)


def test_an_error_of_the_sources_ends_the_loop():
    def sources():
        yield gray(0)
        raise KeyError("sources")

    with pytest.raises(KeyError, match="sources"):
        list(Recorder().predict_many(sources()))


def test_a_slow_loop_makes_the_stages_before_it_wait():
    taken = []

    def sources():
        for number in range(200):
            taken.append(number)
            yield gray(number)

    ahead = []
    for done, _ in enumerate(Recorder().predict_many(sources(), batch_size=2, threads=2), start=1):
        time.sleep(0.002)
        ahead.append(len(taken) - done)
    assert len(ahead) == 200
    assert max(ahead) <= 4 + 8 + 2 + 4 + 2  # read ahead, window, batch, finishing, in the loop


def test_a_loop_that_ends_early_ends_the_threads():
    before = set(threading.enumerate())
    predictor = Recorder()
    results = predictor.predict_many(map(gray, range(200)), threads=3)
    next(results)
    assert set(threading.enumerate()) - before
    results.close()
    assert not set(threading.enumerate()) - before
    assert len(predictor.batches) < 30


def test_very_large_images_are_in_memory_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("mask_rcnn.prediction.image_predictor.LARGE_PIXELS", 1000)
    inside, most = [], []

    class Counting(Recorder):
        def _read(self, image):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            return super()._read(image)

        def preprocess(self, image):
            inside.pop()
            return super().preprocess(image)

    paths = [write_image(tmp_path / f"{number}.png", number) for number in range(12)]
    assert len(list(Counting().predict_many(paths, threads=4))) == 12
    assert max(most) == 1
    monkeypatch.setattr("mask_rcnn.prediction.image_predictor.LARGE_PIXELS", 10**6)
    assert len(list(Counting().predict_many(paths, threads=4))) == 12
    assert max(most) > 1


@pytest.mark.parametrize("option", ["batch_size", "threads"])
def test_sizes_must_be_positive(option):
    with pytest.raises(ValueError, match=f"`{option}` must be at least 1. Received: {option}=0"):
        next(Recorder().predict_many([gray(0)], **{option: 0}))


def test_a_score_threshold_leaves_out_what_is_less_sure(tiny_parts, tiny_config):
    predictor = Predictor(tiny_parts, tiny_config, CATEGORIES)
    image = picture(0, 64, 96)
    whole = predictor.predict(image)
    threshold = float(np.median(whole.scores))
    ((_, sure),) = predictor.predict_many([image], score_threshold=threshold)
    assert 0 < len(sure) < len(whole)
    assert_same_detections(sure, whole.select(whole.scores >= threshold), atol=0)


def test_all_replicas_share_a_batch_and_give_the_same_detections(tmp_path):
    done = subprocess.run(
        [sys.executable, HELPERS / "predict_mirrored.py", tmp_path / "results.json"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["batch_size"] == 2
    assert len(results["mirrored"]) == 5 and all(found["scores"] for found in results["single"])
    for one, other in zip(results["single"], results["mirrored"], strict=True):
        assert one["class_ids"] == other["class_ids"]
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-3)
