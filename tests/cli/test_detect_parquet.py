"""Tests of `mask-rcnn detect --parquet`: each image has one row, despite interruptions and failures."""

import importlib.util
import json
import os
import sys
import types

import numpy as np
import pytest
from cli_fakes import CATEGORIES, FakePredictor, run, write_image
from PIL import Image

from mask_rcnn.cli import progress
from mask_rcnn.structures import Detections

pa = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
pq = pytest.importorskip("pyarrow.parquet")
parts = pytest.importorskip("mask_rcnn.scale.parquet_folder")
rows = pytest.importorskip("mask_rcnn.scale.rows")
ray_detect = pytest.importorskip("mask_rcnn.scale.ray_detect")


@pytest.fixture
def words(monkeypatch, tmp_path):
    """Returns the command line arguments for the images in `photos`, with the fake model."""
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )
    weights = tmp_path / "w.h5"
    weights.write_bytes(b"weights")
    return ["detect", tmp_path / "photos", "--weights", weights, "--parquet", tmp_path / "rows"]


def write_images(tmp_path, count):
    return [write_image(tmp_path / "photos" / f"{number:02}.png").name for number in range(count)]


def read(tmp_path):
    return list(parts.read_rows(tmp_path / "rows"))


def one_row(name, error=None):
    empty = dict.fromkeys(rows.SCHEMA.names)
    return rows.as_table([{**empty, "file": name, "categories": [], "scores": [], "error": error}])


def images(*names):
    return [rows.ImageFile(name.encode(), name) for name in names]


def test_rows_and_the_json_of_them_are_what_detect_writes(words, tmp_path, capsys):
    for name in ("b.png", "deep/a.jpg", "deep-a.jpg"):
        write_image(tmp_path / "photos" / name)
    assert run(*words, "--json", tmp_path / "of_rows.json") == 0
    printed = capsys.readouterr().out
    assert f"Rows: {tmp_path / 'rows'}, 3 images with 3 objects in 1 files" in printed
    assert run(*words[:-2], "--no-pictures", "--json", tmp_path / "expected.json") == 0
    found, expected = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("of_rows", "expected")
    )
    assert len(expected) == 3
    assert sorted(found, key=lambda entry: entry["image_id"]) == expected

    first = next(row for row in read(tmp_path) if row["file"] == "b.png")
    assert first["segmentations"] == [expected[0]["segmentation"]]
    assert {name: value for name, value in first.items() if name != "segmentations"} == {
        "file": "b.png",
        "width": 48,
        "height": 32,
        "category_ids": [7],
        "categories": ["apple"],
        "scores": [pytest.approx(0.9)],
        "bboxes": [[0.0, 0.0, 20.0, 10.0]],
        "keypoints": None,
        "used_bits": None,
        "error": None,
    }


def test_a_second_call_detects_in_new_images_only(words, tmp_path, capsys, monkeypatch):
    seen, detect = [], FakePredictor.detect
    monkeypatch.setattr(FakePredictor, "detect", lambda self, image: seen.append(1) or detect(self, image))
    write_images(tmp_path, 3)
    assert run(*words) == 0
    assert len(seen) == 3
    names = write_images(tmp_path, 5)
    assert run(*words) == 0
    assert "rows has 3 images already" in capsys.readouterr().out
    assert len(seen) == 5
    monkeypatch.setattr(FakePredictor, "load", None)  # without new images no model is loaded
    assert run(*words) == 0
    assert sorted(row["file"] for row in read(tmp_path)) == names


def test_a_bad_image_is_a_row_with_its_error_and_is_tried_again(words, tmp_path, capsys):
    write_images(tmp_path, 2)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    for _ in range(2):
        assert run(*words, "--json", tmp_path / "found.json") == 3
        error = capsys.readouterr().err
        assert "2 of 4 images failed, the others are done" in error
        assert "  bad.png: Expected a complete image file" in error and "  pipe.png: " in error
        found = read(tmp_path)
        assert sorted(row["file"] for row in found) == ["00.png", "01.png", "bad.png", "pipe.png"]
        assert [row["file"] for row in found if row["error"]] == ["bad.png", "pipe.png"]
        assert [row["file"] for row in found if row["width"] is None] == ["bad.png", "pipe.png"]
    ids = [
        (each["image_id"], each["file_name"]) for each in json.loads((tmp_path / "found.json").read_text())
    ]
    assert ids == [(1, "00.png"), (2, "01.png")]
    write_image(tmp_path / "photos" / "bad.png")
    (tmp_path / "photos" / "pipe.png").unlink()
    assert run(*words) == 0
    assert sorted(row["file"] for row in read(tmp_path)) == ["00.png", "01.png", "bad.png"]


@pytest.mark.parametrize(("signal_name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_call_that_is_stopped_keeps_its_rows(words, tmp_path, monkeypatch, signal_name, exit_code):
    import signal

    names, seen, detect = write_images(tmp_path, 30), [], FakePredictor.detect

    def interrupted(self, image):
        seen.append(image)
        if len(seen) == 20:
            signal.raise_signal(getattr(signal, signal_name))
        return detect(self, image)

    monkeypatch.setattr(FakePredictor, "detect", interrupted)
    assert run(*words) == exit_code
    before = [row["file"] for row in read(tmp_path)]
    assert 5 < len(before) < 30
    assert run(*words) == 0
    assert [row["file"] for row in read(tmp_path)] == names


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--score-threshold", "0.1"], "score_threshold 0.5, now 0.1"),
        (["--tile", "64"], "tile null, now 64"),
    ],
)
def test_a_folder_of_other_options_is_refused(words, tmp_path, capsys, changed, message):
    write_images(tmp_path, 1)
    assert run(*words) == 0
    assert run(*words, *changed) == 2
    error = capsys.readouterr().err
    assert "must have the same model, options and inputs in all runs" in error and message in error


def test_a_folder_of_another_model_is_refused_and_a_copied_model_is_not(words, tmp_path, capsys):
    write_images(tmp_path, 1)
    assert run(*words) == 0
    copy = tmp_path / "copy.h5"
    copy.write_bytes(b"weights")
    assert run(*words[:3], copy, *words[4:]) == 0
    copy.write_bytes(b"other")
    assert run(*words[:3], copy, *words[4:]) == 2
    assert " with model " in capsys.readouterr().err


def test_a_damaged_part_is_named_and_costs_its_images_only(words, tmp_path, capsys):
    write_images(tmp_path, 2)
    assert run(*words) == 0
    part = tmp_path / "rows" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:200])
    assert run(*words) == 2
    assert "part-000000.parquet" in capsys.readouterr().err
    part.unlink()
    assert run(*words) == 0
    assert len(read(tmp_path)) == 2


def test_parts_are_written_when_enough_rows_or_seconds_are_there(tmp_path, monkeypatch):
    folder = tmp_path / "rows"
    with parts.ParquetFolder(folder, {}, max_rows=2) as writer:
        for name in "abc":
            writer.add(one_row(name))
        # Only complete parts are visible.
        assert [row["file"] for row in parts.read_rows(folder)] == ["a", "b"]
    with parts.ParquetFolder(folder, {}, max_seconds=0) as writer:
        assert writer.done == {"a", "b", "c"}
        writer.add(one_row("d"))
        assert [file.name for file in parts.part_files(folder)] == [
            f"part-00000{number}.parquet" for number in range(3)
        ]
    assert pq.read_table(folder).num_rows == 4  # other readers read the folder as one table


def test_rows_that_failed_leave_the_other_rows_and_the_settings(tmp_path):
    folder = tmp_path / "rows"
    with parts.ParquetFolder(folder, {"model": "x"}) as writer:
        writer.add(one_row("good"))
        writer.add(one_row("bad", error="broken"))
    with parts.ParquetFolder(folder, {"model": "x"}) as writer:
        assert writer.done == {"good"}
    with pytest.raises(ValueError, match='model "x", now "y"'), parts.ParquetFolder(folder, {"model": "y"}):
        pass


def test_images_without_rows_are_an_error(tmp_path):
    def launch(images):
        yield one_row(images[0].name)

    with (
        parts.ParquetFolder(tmp_path / "rows", {}) as writer,
        pytest.raises(RuntimeError, match="none for 1, such as 'b'"),
    ):
        list(parts.detect_in_parts(images("a", "b"), writer, launch))
    assert [row["file"] for row in parts.read_rows(tmp_path / "rows")] == ["a"]


def test_names_that_are_no_text_are_escaped(words, tmp_path):
    name = os.fsdecode(b"\xff.png")
    os.rename(write_image(tmp_path / "photos" / "a.png"), tmp_path / "photos" / name)
    assert run(*words) == 0
    (row,) = read(tmp_path)
    assert row["file"] == r"\udcff.png" and row["categories"] == ["apple"]


def test_dark_images_of_16_bits_are_reported(words, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((32, 48), 4095, "uint16")).save(tmp_path / "photos" / "camera.png")
    assert run(*words) == 0
    assert "Warning: 1 of 1 images with 16 bits per sample use at most 12" in capsys.readouterr().out


def test_what_cannot_be_a_row_is_counted(words, tmp_path, capsys):
    write_images(tmp_path, 1)
    (tmp_path / "photos" / "clip.mp4").touch()
    assert run(*words) == 0
    assert "Skipped 1 files that are not images: " in capsys.readouterr().out


def test_keypoints_and_detections_without_masks_are_columns_and_entries():
    found = Detections(
        boxes=[[0, 0, 4, 4]],
        scores=[0.5],
        class_ids=[2],
        image_size=(8, 8),
        keypoints=[[[1.5, 2.5, 0.75]]],
    )

    class OneImage:
        categories = CATEGORIES
        config = FakePredictor().config

        def predict_many(self, images, finish, **options):
            for image in images:
                yield image, finish(image, found, None)

    detector = rows.Detector(load=OneImage, in_tiles=True)
    (row,) = rows.as_table(list(rows.detect_rows(detector, OneImage(), images("a.png")))).to_pylist()
    assert row["segmentations"] is None and row["keypoints"] == [[1.0, 2.0, 0.75]]
    (entry,) = rows.coco_entries(row, 5)
    assert entry == {
        "image_id": 5,
        "category_id": 9,
        "category_name": "pear",
        "score": 0.5,
        "bbox": [0.0, 0.0, 4.0, 4.0],
        "keypoints": [1.0, 2.0, 0.75],
        "file_name": "a.png",
    }


def test_ray_needs_a_folder_for_rows(words, capsys):
    assert run(*words[:-2], "--ray", "CPU=2") == 2
    assert "--ray needs --parquet" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="the extra `ray` is installed")
def test_workers_of_ray_need_ray(words, capsys):
    assert run(*words, "--ray", "CPU=2") == 2
    assert "pip install mask-rcnn[ray]" in capsys.readouterr().err


@pytest.mark.parametrize("resources", [{"num_cpus": 0}, {"num_cpus": 0, "num_gpus": 0}])
def test_workers_without_a_cpu_or_gpu_are_an_error(resources, monkeypatch):
    cluster = types.SimpleNamespace(cluster_resources=lambda: {"CPU": 4.0})
    monkeypatch.setitem(sys.modules, "ray", cluster)
    assert ray_detect._workers_of_cluster({"num_cpus": 2}) == 2
    with pytest.raises(ValueError, match="A worker needs a CPU or a GPU.*Received: num_cpus=0"):
        ray_detect._workers_of_cluster(resources)


def test_lines_of_progress_say_how_long_the_rest_takes(capsys, monkeypatch):
    seconds = iter((0.0, 20.0, 40.0, 60.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    assert list(progress.track(["ab", "cd", "efgh"], 8, "Detecting", size=len)) == ["ab", "cd", "efgh"]
    assert capsys.readouterr().err == (
        "Detecting: 2/8, about 0:01:00 left\nDetecting: 4/8, about 0:00:40 left\n"
        "Detecting: 8/8, about 0:00:00 left\n"
    )


def test_outputs_that_cannot_be_written_are_refused_before_the_work(words, tmp_path, capsys):
    (name,) = write_images(tmp_path, 1)
    image = tmp_path / "photos" / name
    for output, message in ((tmp_path, "must be a file"), (image, "must not be an input")):
        assert run(*words, "--json", output) == 2
        assert f"--json {message}" in capsys.readouterr().err
    assert run(*words, "--rank-uncertain", tmp_path / "rank.csv") == 2
    assert "Received: --parquet and --rank-uncertain" in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()
