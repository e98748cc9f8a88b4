"""Tests of the commands with exported models instead of weights."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from mask_rcnn.benchmark.side_by_side import format_side_by_side, side_by_side
from mask_rcnn.benchmark.synthetic_batch import Settings
from mask_rcnn.cli import export
from mask_rcnn.cli.main import main
from mask_rcnn.config import Config
from mask_rcnn.export import formats
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.structures import Category

# Detects the same dog in the upper left quarter of every image.
RUNNER = """
import json
import pathlib
import numpy as np

class Runner:
    def __init__(self, path, threads):
        self.assets, self.versions = json.loads(pathlib.Path(path).read_text()), {"toy": "1.0"}

    def __call__(self, image):
        return {
            "detection_boxes": np.array([[0, 0, 0.5, 0.5]], "float32"),
            "detection_scores": np.array([0.9], "float32"),
            "detection_classes": np.array([2], "float32"),
            "detection_masks": np.ones([1, 28, 28], "float32"),
            "num_detections": np.float32(1),
        }
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The path of a model of a format that needs no runtime."""
    (tmp_path / "runner.py").write_text(RUNNER)
    toy = formats.Format(name="toy", suffix=".toy", writer="", runner=str(tmp_path / "runner"))
    monkeypatch.setitem(formats.FORMATS, "toy", toy)
    path = tmp_path / "model.toy"
    categories = (Category(1, "cat"), Category(5, "dog"))
    path.write_text(json.dumps(write_assets(Config(num_classes=2), categories)))
    return path


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros([40, 60, 3], "uint8")).save(path)
    return path


def run(*words):
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", *map(str, words)])
    return stop.value.code


def write_annotations(path):
    """Writes annotations with one dog where the toy model detects it."""
    polygon = [0, 0, 30, 0, 30, 20, 0, 20]
    dog = {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [polygon], "bbox": [0, 0, 30, 20]}
    content = {
        "images": [{"id": 1, "file_name": "photo.png", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [{**dog, "area": 600, "iscrowd": 0}],
    }
    path.write_text(json.dumps(content))
    return path


def test_detect_takes_an_exported_model(model, image, tmp_path):
    out = tmp_path / "found.json"
    assert run("detect", image, "--model", model, "--no-pictures", "--json", out) == 0
    (entry,) = json.loads(out.read_text())
    assert entry["category_id"] == 5
    assert entry["bbox"] == [0, 0, 30, 20]


def test_evaluate_takes_an_exported_model(model, image, tmp_path):
    annotations, out = write_annotations(tmp_path / "truth.json"), tmp_path / "scores.json"
    words = ("--annotations", annotations, "--images", image.parent, "--json", out)
    assert run("evaluate", "--model", model, *words) == 0
    assert json.loads(out.read_text())["summary"]["bbox"]["AP"] == pytest.approx(1)


def test_benchmark_sets_exported_models_side_by_side(model, image, tmp_path, capsys):
    other = model.with_name("other.toy")
    other.write_text(model.read_text())
    annotations = write_annotations(tmp_path / "truth.json")
    words = ("--annotations", annotations, "--images", image.parent, "--repeats", 1, "--warmup", 1)
    assert run("benchmark", "--model", model, "--model", other, *words) == 0
    shown = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in shown if ".toy" in line]
    assert [row[0] for row in rows] == ["model.toy", "other.toy"] * 2  # the second table has the AP
    assert rows[-1][-2:] == ["1.0000", "1.0000"]


def test_side_by_side_measures_each_in_its_own_process(model):
    images = {name: np.zeros([8, 8, 3], "uint8") for name in ("one", "two")}
    report = side_by_side([model], images, Settings(repeats=2, warmup=1))
    row = report["models"][str(model)]
    assert row["format"] == "toy" and row["versions"] == {"toy": "1.0"}
    assert row["bytes"] == model.stat().st_size
    assert 0 < row["wall"] < 1 and row["load"] > 0
    assert "2 images one by one" in format_side_by_side(report)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("detect", "x.png", "--model", "m", "--precision", "mixed_bfloat16"), "that it was exported with"),
        (("benchmark", "--model", "m", "--batch", "2"), "one image at a time"),
        (("benchmark", "--model", "m", "--config", "shapes"), "measured as it was exported"),
        (("benchmark", "--annotations", "a.json"), "must be given together, and need --model"),
        (("evaluate", "--model", "m", "--annotations", "a.json"), "needs the folder of the images"),
    ],
)
def test_options_that_do_not_go_together_are_said(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").touch()
    assert run(*words) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def no_tensorflow(monkeypatch):
    def fail():
        raise AssertionError("TensorFlow is imported before the options are checked")

    monkeypatch.setattr(export, "import_tensorflow", fail)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "tflite", "--out", "a.onnx"), "ends in '.tflite'"),
        (("--format", "tflite", "--out", "a.tflite", "--precision", "float16"), "takes --size and"),
        (("--format", "saved_model", "--out", "a", "--size", "64", "64"), "Received: --size"),
        (("--format", "onnx", "--out", "a.onnx", "--max-pixels", "9"), "Received: --max-pixels 9"),
        (("--format", "tflite", "--out", "a.tflite", "--quantize", "int8"), "needs calibration images"),
        (("--format", "tflite", "--out", "a.tflite", "--proposals", "0"), "--proposals must be 1 or more"),
        (("--format", "saved_model", "--out", "a", "--max-pixels", "-1"), "--max-pixels must be 1 or more"),
        (
            ("--format", "saved_model", "--out", "a", "--check-images", "0"),
            "--check-images must be 1 or more",
        ),
        (("--format", "saved_model", "--out", "images"), "must not exist or must be an earlier export"),
        (("--format", "saved_model", "--out", "a", "--images", "videos"), "--images must contain images"),
        (("--format", "saved_model", "--out", "a", "--images", "absent"), "absent"),
    ],
)
def test_options_of_an_export_are_checked_first(
    words, message, image, capsys, tmp_path, monkeypatch, no_tensorflow
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    assert run("export", "absent.weights.h5", *words) == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_is_named_as_pip_names_it(capsys, monkeypatch, no_tensorflow):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    assert run("export", "absent.weights.h5", "--format", "onnx", "--out", "a.onnx") == 2
    assert "Run `pip install tf2onnx onnx onnxruntime`" in capsys.readouterr().err
    words = ("--format", "tflite", "--out", "a.tflite", "--quantize", "dynamic")
    assert run("export", "absent.weights.h5", *words) == 2
    assert "Run `pip install ai-edge-litert ai-edge-quantizer`" in capsys.readouterr().err


def test_images_are_spread_over_all_and_not_used_twice_if_there_are_enough():
    files = [f"{number:03d}.png" for number in range(500)]
    compared, calibration = export.split_images(files, 50)
    assert compared == files[::10]
    assert len(calibration) == 100 and not set(calibration) & set(compared)
    assert export.split_images(files[:60], 50)[1] == tuple(files[:60])
    assert export.split_images([], 50) == ([], ())


def test_the_order_of_the_words_does_not_change_the_images(tmp_path):
    for name in ("b.png", "a.png", "c.txt"):
        Image.fromarray(np.zeros([4, 6, 3], "uint8")).save(tmp_path / name, "PNG")
    paths = [tmp_path / "b.png", tmp_path / "a.png"]
    for images in (paths, paths[::-1], [tmp_path]):
        args = argparse.Namespace(images=images, out=tmp_path / "out", check_images=4)
        assert export._find_images(args) == sorted(paths)


def test_weights_and_model_exclude_each_other(capsys):
    assert run("detect", "x.png", "--model", "m", "--weights", "w") == 2
    assert "not allowed with" in capsys.readouterr().err
