"""Tests that Ray workers detect in each image once, even if a worker or the driver is killed."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_training_ray import TIMEOUT, needs_ray

pytestmark = [pytest.mark.slow, needs_ray]
NUM_IMAGES = 96


def save_tiny_weights(path, config):
    """Writes a weights file with random numbers."""
    from mask_rcnn.model import build_parts
    from mask_rcnn.structures import Category
    from mask_rcnn.weights import save_weights

    save_weights(
        path, build_parts(config), config, categories=[Category(number, str(number)) for number in (1, 2, 3)]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config):
    """A folder with a model that detects objects in noise, and images, one of them damaged."""
    folder = tmp_path_factory.mktemp("detect_ray")
    save_tiny_weights(folder / "model.weights.h5", tiny_config)
    (folder / "photos").mkdir()
    for number in range(NUM_IMAGES - 1):
        pixels = np.random.default_rng(number).integers(0, 256, [64, 96, 3]).astype("uint8")
        Image.fromarray(pixels).save(folder / "photos" / f"{number:03}.png")
    (folder / "photos" / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """The rows of one process."""
    from mask_rcnn.prediction.predict import Predictor
    from mask_rcnn.scale.rows import Detector, ImageFile, detect_rows

    images = [ImageFile(os.fsencode(path), path.name) for path in sorted((folder / "photos").iterdir())]
    predictor = Predictor.load(folder / "model.weights.h5")
    return list(detect_rows(Detector(load=None), predictor, images))


def detect(folder, *words):
    import detect_ray

    from mask_rcnn.scale.parquet_folder import read_rows

    done = subprocess.run(
        [sys.executable, detect_ray.__file__, folder, *words],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    return done, sorted(read_rows(folder / "rows"), key=lambda row: row["file"])


def check(rows, expected):
    assert [row["file"] for row in rows] == [row["file"] for row in expected]
    assert sum(row["error"] is not None for row in rows) == 1
    for row, other in zip(rows, expected, strict=True):
        assert row["error"] == other["error"] and row["category_ids"] == other["category_ids"]
        np.testing.assert_allclose(row["scores"] or [], other["scores"] or [], atol=1e-5)


def empty(folder):
    for file in (folder / "killed", *(folder / "rows").glob("*")):
        file.unlink(missing_ok=True)


def test_a_worker_that_is_killed_costs_no_image(folder, expected):
    empty(folder)
    done, rows = detect(folder, "worker")
    assert done.returncode == 0, done.stderr
    assert (folder / "killed").exists()
    check(rows, expected)


def test_a_driver_that_is_killed_goes_on_where_it_ended(folder, expected):
    empty(folder)
    done, rows = detect(folder, "driver")
    assert done.returncode == -signal.SIGKILL
    assert 0 < len(rows) < NUM_IMAGES
    done, rows = detect(folder)
    assert done.returncode == 0, done.stderr
    check(rows, expected)
