"""Tests that any damage of an exported model gives one clear error: no traceback, crash or wrong result."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.export.writers import lite, onnx

MODELS = ("model.tflite", "saved_model", "model.onnx")


def damages(content, random):
    """Yields an infinite sequence of damaged copies of the bytes of a file."""
    while True:
        at, other = sorted(random.integers(0, len(content), 2).tolist())
        yield content[:at]
        yield content[:at] + content[other:]
        yield content[:at] + bytes(min(other - at, 1000)) + content[at + min(other - at, 1000) :]
        yield content[:at] + bytes([content[at] ^ 1 << random.integers(8)]) + content[at + 1 :]
        yield content[: -random.integers(1, 3000)]
        yield content[other:] + content[:other]


def check_damaged(path, content, number, seed):
    """Loads `number` damaged copies of the file at `path`. Returns how many were refused."""
    model = next(part for part in (path, *path.parents) if part.name in MODELS)
    copies = damages(content, np.random.default_rng(seed))
    refused = 0
    for _ in range(number):
        copy = next(copies)
        if copy == content:
            continue
        path.write_bytes(copy)
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            ExportedPredictor(model)
        assert "\n" not in str(error.value) and str(model) in str(error.value)
        assert "Received:" in str(error.value)
        refused += 1
    return refused


def test_damaged_tflite_files(tiny_tflite, tmp_path):
    assert check_damaged(tmp_path / "model.tflite", tiny_tflite.read_bytes(), 60, seed=0) > 50


def check_damaged_folder(saved_model, tmp_path, number):
    folder = shutil.copytree(saved_model, tmp_path / "saved_model")
    for seed, path in enumerate(sorted(file for file in folder.rglob("*") if file.is_file())):
        content = path.read_bytes()
        if path.parent.name != "assets.extra":
            assert check_damaged(path, content, number, seed) > number / 2
            path.unlink()
            with pytest.raises((ValueError, FileNotFoundError), match=r"Received|There is no"):
                ExportedPredictor(folder)
        path.write_bytes(content)


def test_damaged_folders(tiny_saved_model, tmp_path):
    check_damaged_folder(tiny_saved_model, tmp_path, 6)


@pytest.mark.slow
def test_many_damaged_files(
    tiny_tflite, tiny_saved_model, tmp_path, tiny_parts, tiny_config, tiny_categories
):
    metadata = lite.runner_metadata(tiny_config, (64, 96))
    framed = lite.FramedPredictor(tiny_parts, tiny_config, tiny_categories, metadata=metadata)
    onnx.write(tmp_path / "whole.onnx", framed, pytest.importorskip("tf2onnx"))
    content = (tmp_path / "whole.onnx").read_bytes()
    assert check_damaged(tmp_path / "model.onnx", content, 200, seed=1) > 150
    assert check_damaged(tmp_path / "model.tflite", tiny_tflite.read_bytes(), 600, seed=2) > 500
    check_damaged_folder(tiny_saved_model, tmp_path, 30)


def repacked(content, change):
    """Returns a TFLite file whose associated files were modified by a function of their dict."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
        start = min(member.header_offset for member in archive.infolist())
    change(texts)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return content[:start] + stream.getvalue()


def changed_metadata(**fields):
    def change(texts):
        texts["metadata.json"] = json.dumps({**json.loads(texts["metadata.json"]), **fields})

    return change


CHANGES = {
    "no labels": lambda texts: texts.pop("labels.txt"),
    "no metadata": lambda texts: texts.pop("metadata.json"),
    "no config": lambda texts: texts.pop("config.yaml"),
    "no categories": lambda texts: texts.pop("categories.json"),
    "labels of 20 MB": lambda texts: texts.update({"labels.txt": "a" * 20_000_000}),
    "metadata that is a list": lambda texts: texts.update({"metadata.json": "[]"}),
    "metadata that is deep": lambda texts: texts.update({"metadata.json": "[" * 100_000}),
    "labels that are not UTF-8": lambda texts: texts.update({"labels.txt": b"\xff\xfe"}),
    "config that is no YAML": lambda texts: texts.update({"config.yaml": "a: ["}),
    "categories that are numbers": lambda texts: texts.update({"categories.json": "[1, 2]"}),
    "categories without a name": lambda texts: texts.update({"categories.json": '[{"class": 1, "id": 1}]'}),
    "too few categories": lambda texts: texts.update(
        {"categories.json": '[{"class": 1, "id": 1, "name": "cat"}]'}
    ),
    "a size that is a text": changed_metadata(size="64 96"),
    "a size of one side": changed_metadata(size=[64]),
    "another checksum": changed_metadata(model_sha256="0" * 64),
    "no checksum": changed_metadata(model_sha256=None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_associated_files(tiny_tflite, tmp_path, name):
    path = tmp_path / "model.tflite"
    path.write_bytes(repacked(tiny_tflite.read_bytes(), CHANGES[name]))
    with pytest.raises(ValueError, match="Received: .*model.tflite") as error:
        ExportedPredictor(path)
    assert "\n" not in str(error.value)


def test_a_frame_that_is_not_the_models_is_an_error_of_the_image(tiny_tflite, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(repacked(tiny_tflite.read_bytes(), changed_metadata(size=[32, 32])))
    with pytest.raises(ValueError, match=r"Expected a complete model.*model.tflite"):
        ExportedPredictor(path).predict(np.zeros([8, 8, 3], "uint8"))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + bytes(100), b"PK\5\6" + bytes(18)])
def test_files_that_are_none(tmp_path, content):
    for name in ("model.tflite", "model.onnx"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"Received: .*model\."):
            ExportedPredictor(path)


def test_a_folder_of_another_program_is_no_export(tmp_path):
    folder = Path(tmp_path, "saved_model")
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="Received: .*without assets"):
        ExportedPredictor(folder)
