"""Tests of `mask-rcnn detect`: its detections, files, skipped inputs and messages."""

import json
import os
import re
import signal
import sys
import time
import types

import cv2
import numpy as np
import pytest
from cli_fakes import FakePredictor, run, write_image
from PIL import Image

from mask_rcnn.cli import detect, inputs, pictures, video

WEIGHTS = ("--weights", "w.h5")


@pytest.fixture
def predictor(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )
    negative = types.SimpleNamespace(draw=lambda image, detections, categories, font: 255 - image)
    monkeypatch.setitem(sys.modules, "mask_rcnn.visualization.drawing", negative)
    return FakePredictor


def write_video(path, num_frames=3):
    with video.open_writer(path, 10.0) as write:
        for _ in range(num_frames):
            write(np.full((32, 48, 3), 200, "uint8"))
    return path


def unmarked(path):
    """Removes the mark of `detect` from a video, so that it looks like one from a camera."""
    path.write_bytes(path.read_bytes()[: -len(pictures.MP4_MARK)])
    return path


def test_a_folder_is_drawn_and_written_as_coco_results(predictor, tmp_path, capsys):
    for name in ("b.png", "deep/a.jpg"):
        write_image(tmp_path / "photos" / name)
    out, json_file = tmp_path / "out", tmp_path / "found.json"
    assert run("detect", tmp_path / "photos", *WEIGHTS, "--out", out, "--json", json_file) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg", "b.png"]
    assert cv2.imread(str(out / "b.png")).min() == 255  # the fake drawing turns black into white
    first, second = json.loads(json_file.read_text())
    assert first == {
        "image_id": 1,
        "category_id": 7,
        "bbox": [0.0, 0.0, 20.0, 10.0],
        "score": pytest.approx(0.9),
        "segmentation": {"size": [32, 48], "counts": first["segmentation"]["counts"]},
        "category_name": "apple",
        "file_name": "b.png",
    }
    assert (second["image_id"], second["file_name"]) == (2, "deep/a.jpg")
    assert f"b.png: 1 apple -> {out / 'b.png'}" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_images_that_need_most_corrections_are_first(suffix, predictor, tmp_path, capsys, monkeypatch):
    def detect_by_brightness(self, image):
        return {"scores": np.array([0.9, 0.2] if image.max() < 99 else [0.6, 0.45], "float32")}

    monkeypatch.setattr(predictor, "detect", detect_by_brightness)
    for name, value in (("a.png", 0), ("b.png", 200), ("c.png", 0)):
        write_image(tmp_path / "photos" / name, value)
    path, found = tmp_path / f"rank{suffix}", tmp_path / "found.json"
    words = ("--no-pictures", "--rank-uncertain", path, "--json", found)
    assert run("detect", tmp_path / "photos", *WEIGHTS, *words) == 0
    assert len(json.loads(found.read_text())) == 3  # --score-threshold applies to the file
    assert f"Ranking: {path}" in capsys.readouterr().out
    if suffix == ".json":
        rows = [list(map(str, row.values())) for row in json.loads(path.read_text())]
    else:
        header, *rows = (line.split(",") for line in path.read_text().splitlines())
        assert header[:5] == ["rank", "file_name", "uncertainty", "per_object", "reason"]
        assert header[5:] == ["wrong", "disagreement", "missed", "objects", "candidates"]
    assert [row[:5] for row in rows] == [
        ["1", "b.png", "0.85", "0.425", "objects below the threshold"],
        ["2", "a.png", "0.3", "0.15", "objects below the threshold"],
        ["3", "c.png", "0.3", "0.15", "objects below the threshold"],
    ]


def test_images_in_which_nothing_was_found_are_counted_in_the_ranking(
    predictor, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        predictor, "detect", lambda self, image: {"scores": np.array([0.04, 0.01], "float32")}
    )
    image, path = write_image(tmp_path / "a.png"), tmp_path / "rank.csv"
    assert run("detect", image, *WEIGHTS, "--no-pictures", "--rank-uncertain", path) == 0
    assert "1 images without detections are last in the ranking" in capsys.readouterr().out
    assert path.read_text().splitlines()[1] == "1,a.png,0.0,0.0,nothing found,0.0,0.0,0.0,0,0"


def test_a_lower_threshold_finds_more(predictor, tmp_path, capsys):
    image = write_image(tmp_path / "a.png")
    assert run("detect", image, *WEIGHTS, "--no-pictures", "--score-threshold", "0.1") == 0
    assert capsys.readouterr().out == f"{image}: 1 apple, 1 pear\n"


def test_bad_files_are_listed_at_the_end_and_the_others_are_done(predictor, tmp_path, capsys):
    photos = tmp_path / "photos"
    for name in ("a.png", "z.png"):
        write_image(photos / name)
    (photos / "broken.png").write_bytes(b"no picture")
    (photos / "gone.png").symlink_to("nowhere.png")
    (photos / "loop.png").symlink_to("loop.png")
    os.mkfifo(photos / "pipe.png")
    os.mkfifo(photos / "pipe.mp4")
    json_file = tmp_path / "found.json"
    assert run("detect", photos, *WEIGHTS, "--out", tmp_path / "out", "--json", json_file) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]
    assert [entry["file_name"] for entry in json.loads(json_file.read_text())] == ["a.png", "z.png"]
    error = capsys.readouterr().err
    assert "5 of 7 files failed, the others are done:\n" in error
    for name in ("broken.png", "gone.png", "loop.png", "pipe.png", "pipe.mp4"):
        assert sum(line.startswith(f"  {photos / name}: Expected") for line in error.splitlines()) == 1


def test_an_error_of_the_model_is_that_of_one_file(predictor, tmp_path, capsys, monkeypatch):
    def detect(self, image):
        raise MemoryError if image[0, 0, 0] else RuntimeError("two\nlines")

    monkeypatch.setattr(FakePredictor, "detect", detect)
    write_image(tmp_path / "dark.png")
    write_image(tmp_path / "light.png", 200)
    assert run("detect", tmp_path, *WEIGHTS, "--no-pictures") == 3
    error = capsys.readouterr().err
    assert "dark.png: RuntimeError: two" in error and "light.png: There is not enough memory" in error


def test_missing_files_and_empty_folders_are_errors(predictor, tmp_path, capsys):
    assert run("detect", tmp_path / "absent.png", *WEIGHTS) == 2
    assert "absent.png" in capsys.readouterr().err
    (tmp_path / "notes.txt").touch()
    assert run("detect", tmp_path, *WEIGHTS) == 2
    assert "has none. Skipped 1 files .txt" in capsys.readouterr().err


@pytest.mark.parametrize(("signal_name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_was_found_is_written_when_the_command_is_stopped(
    predictor, tmp_path, monkeypatch, signal_name, exit_code
):
    names = [f"{number:02}.png" for number in range(30)]
    seen, detect = [], FakePredictor.detect

    def interrupted(self, image):
        seen.append(image)
        if len(seen) == 20:
            os.kill(os.getpid(), getattr(signal, signal_name))
            time.sleep(0.1)
        return detect(self, image)

    monkeypatch.setattr(FakePredictor, "detect", interrupted)
    for name in names:
        write_image(tmp_path / "photos" / name)
    json_file = tmp_path / "found.json"
    words = [*WEIGHTS, "--out", tmp_path / "out", "--json", json_file]
    assert run("detect", tmp_path / "photos", *words) == exit_code
    written = [entry["file_name"] for entry in json.loads(json_file.read_text())]
    assert 5 < len(written) < 30 and written == names[: len(written)]
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert drawn[: len(written)] == written
    assert len(seen) <= 21  # the model stops after the current image


def test_the_results_of_an_interrupted_video_are_kept(predictor, tmp_path, monkeypatch):
    frames, detect = [], FakePredictor.detect

    def interrupted(self, image):
        frames.append(image)
        if len(frames) == 20:
            raise KeyboardInterrupt
        return detect(self, image)

    monkeypatch.setattr(FakePredictor, "detect", interrupted)
    clip = unmarked(write_video(tmp_path / "clip.mp4", 30))
    out, json_file = tmp_path / "out", tmp_path / "found.json"
    assert run("detect", clip, *WEIGHTS, "--out", out, "--json", json_file) == 130
    numbers = [entry["frame"] for entry in json.loads(json_file.read_text())]
    assert numbers == list(range(19))
    assert len(list(video.read_frames(out / "clip.mp4"))) == 19


def test_skipped_files_are_counted_by_kind(predictor, tmp_path, capsys):
    photos = tmp_path / "photos"
    image = write_image(photos / "a.jpg")
    write_image(photos / ".thumbs" / "a.jpg")
    (photos / "._a.jpg").touch()
    for name in ("x.psd", "y.PSD", "labels.json", "README"):
        (photos / name).touch()
    (photos / "again.jpg").symlink_to(image)
    (photos / "elsewhere").symlink_to(tmp_path)
    assert run("detect", photos, *WEIGHTS, "--no-pictures") == 0
    printed = capsys.readouterr().out
    for line in (
        f"Skipped 1 hidden folders: {photos / '.thumbs'}",
        f"Skipped 1 hidden files: {photos / '._a.jpg'}",
        f"Skipped 2 files .psd: {photos / 'x.psd'}, {photos / 'y.PSD'}",
        "Skipped 1 files .json: ",
        "Skipped 1 files without suffix: ",
        f"Skipped 1 files that are given twice: {photos / 'again.jpg'}",
        f"Skipped 1 symbolic links to folders: {photos / 'elsewhere'}",
    ):
        assert line in printed


@pytest.mark.parametrize("relative", [True, False])
def test_pictures_of_earlier_runs_are_not_detected_again(predictor, tmp_path, capsys, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    write_image(tmp_path / "photos" / "a.png")
    write_image(tmp_path / "photos" / "b.jpg")
    unmarked(write_video(tmp_path / "photos" / "c.mp4"))
    given = "link" if relative else tmp_path / "photos"
    for out in ("photos/one", "photos/two", "photos"):
        assert run("detect", given, *WEIGHTS, "--out", tmp_path / "link" / ".." / out) == 0
    printed = capsys.readouterr().out
    assert printed.count("1 apple") == 3 * 2 and printed.count("3 apple") == 3  # videos have 3 frames
    assert sorted(path.name for path in (tmp_path / "photos").iterdir()) == [
        *("a-2.png", "a.png", "b-2.jpg", "b.jpg", "c-2.mp4", "c.mp4", "one", "two"),
    ]


def test_names_tell_files_of_different_folders_apart(predictor, tmp_path):
    for folder in ("left", "right"):
        write_image(tmp_path / folder / "a.png")
    names = inputs.find_files([tmp_path / "left", tmp_path / "right"], tmp_path / "out", inputs.Skipped())
    assert list(names.values()) == ["left/a.png", "right/a.png"]
    names = inputs.find_files([tmp_path / "left"], tmp_path / "out", inputs.Skipped())
    assert list(names.values()) == ["a.png"]
    names = inputs.find_files([tmp_path / "left" / "a.png"], tmp_path / "out", inputs.Skipped())
    assert list(names.values()) == ["a.png"]


def test_pictures_never_overwrite_an_input_or_each_other(tmp_path):
    first, second = tmp_path / "a.jpg", tmp_path / "deep" / "a.jpg"
    taken = {str(first.resolve()), str(second.resolve())}
    assert pictures.picture_path(first, tmp_path, taken) == tmp_path / "a-2.jpg"
    assert pictures.picture_path(second, tmp_path, taken) == tmp_path / "a-3.jpg"


def test_pictures_replace_those_of_an_earlier_run_and_no_other_file(predictor, tmp_path, capsys):
    image, out = write_image(tmp_path / "a.png"), tmp_path / "out"
    foreign = write_image(out / "a.png", 7)
    for _ in range(2):
        assert run("detect", image, *WEIGHTS, "--out", out) == 0
        assert (
            f"1 pictures got another name, because a file of that name exists: {image} ->"
            in capsys.readouterr().out
        )
    assert sorted(path.name for path in out.iterdir()) == ["a-2.png", "a.png"]
    assert cv2.imread(str(foreign)).max() == 7


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work(
    predictor, tmp_path, capsys, monkeypatch
):
    image = write_image(tmp_path / "a.png")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run("detect", image, *WEIGHTS, "--no-pictures", "--json", tmp_path / "found.json") == 2
    assert "--json must be in a folder that can be written to" in capsys.readouterr().err


def test_outputs_that_cannot_be_are_refused_before_the_work(predictor, tmp_path, capsys):
    image = write_image(tmp_path / "a.png")
    assert run("detect", image, *WEIGHTS, "--out", image) == 2
    assert run("detect", image, *WEIGHTS, "--no-pictures", "--json", tmp_path) == 2
    assert run("detect", image, *WEIGHTS, "--no-pictures", "--json", image) == 2
    error = capsys.readouterr().err
    for message in ("--out must be a folder", "--json must be a file", "--json must not be an input"):
        assert message in error


def test_a_full_disk_is_named(predictor, tmp_path, capsys, monkeypatch):
    def save(self, path, **options):
        raise OSError(28, "No space left on device", str(path))

    image = write_image(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", save)
    assert run("detect", image, *WEIGHTS, "--out", tmp_path / "out") == 3
    assert re.search(
        r"a\.png: Expected room for the file .*a\.png\. Received: a disk", capsys.readouterr().err
    )
    assert not list((tmp_path / "out").iterdir())


def test_names_with_escape_sequences_are_printed_escaped(predictor, tmp_path, capsys):
    write_image(tmp_path / "photos" / "a\x1b[31m.png")
    assert run("detect", tmp_path / "photos", *WEIGHTS, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err and r"a\x1b[31m.png: 1 apple" in printed.out


def test_a_bit_depth_and_a_pixel_limit_can_be_given(predictor, tmp_path, capsys, monkeypatch):
    brightest, detect = [], FakePredictor.detect

    def recorded(self, image):
        brightest.append(int(image.max()))
        return detect(self, image)

    monkeypatch.setattr(FakePredictor, "detect", recorded)
    image = tmp_path / "camera.png"
    Image.fromarray(np.full((32, 48), 4095, "uint16")).save(image)
    words = ["detect", image, *WEIGHTS, "--no-pictures"]
    assert run(*words) == 0
    warning = "Warning: 1 of 1 images with 16 bits per sample use at most 12"
    assert warning in capsys.readouterr().out
    assert run(*words, "--bit-depth", "12") == 0
    assert "Warning" not in capsys.readouterr().out
    assert brightest == [15, 255]
    assert run(*words, "--max-pixels", "1000") == 3
    assert "at most 0.001 million are decoded" in capsys.readouterr().err
    assert run(*words, "--bit-depth", "20") == 2


def test_video_is_read_and_written(predictor, tmp_path):
    clip, out = unmarked(write_video(tmp_path / "clip.mp4")), tmp_path / "out"
    json_file = tmp_path / "found.json"
    assert run("detect", clip, *WEIGHTS, "--out", out, "--json", json_file) == 0
    frames = list(video.read_frames(out / "clip.mp4"))
    assert len(frames) == 3 and frames[0].shape == (32, 48, 3)
    assert abs(int(frames[0].mean()) - 55) <= 3  # 255 - 200, up to errors of the codec
    assert video.frame_rate(out / "clip.mp4") == 10.0
    found = json.loads(json_file.read_text())
    assert [(entry["image_id"], entry["frame"]) for entry in found] == [(1, 0), (2, 1), (3, 2)]


def test_without_json_no_detections_are_kept(predictor, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(detect, "_finish", lambda args, predictor, outcome: kept.append(outcome.results))
    clip = unmarked(write_video(tmp_path / "clip.mp4"))
    assert run("detect", clip, *WEIGHTS, "--no-pictures") == 0
    assert kept == [[]]


def test_a_video_without_frames_is_an_error(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"clip\.mp4"):
        list(video.read_frames(path))


def test_the_frames_before_a_break_are_kept_and_the_break_is_reported(predictor, tmp_path, capsys):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (48, 32))
    for _ in range(40):
        writer.write(np.full((32, 48, 3), 200, "uint8"))
    writer.release()
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    out, json_file = tmp_path / "out", tmp_path / "found.json"
    assert run("detect", clip, *WEIGHTS, "--out", out, "--json", json_file) == 3
    found = json.loads(json_file.read_text())
    assert 5 < len(found) < 35
    assert len(list(video.read_frames(out / "clip.mp4"))) == len(found)
    assert f"ends after {len(found)} of 40 frames" in capsys.readouterr().err


def test_frames_of_another_size_are_refused_instead_of_dropped(tmp_path):
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="one size"), video.open_writer(path, 10.0) as write:
        write(np.zeros((32, 48, 3), "uint8"))
        write(np.zeros((48, 32, 3), "uint8"))
    assert len(list(video.read_frames(path))) == 1
