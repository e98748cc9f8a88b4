"""Tests hundreds of damaged and hostile images: each is read as Pillow reads it, or gives one clear error."""

import collections
import json
import subprocess
import sys
import types

import pytest
from cli_fakes import FakePredictor, run
from hostile_images import hostile_files
from hostile_images_run import examine
from locations import HELPERS

MAX_SECONDS = 10  # CPU time per file
MAX_OTHER_BYTES = 500_000_000  # memory in addition to the decoded image
COMPLETE = ("whole", "options")  # kinds of files that must be read


def write_files(folder, large):
    """Writes the files as KIND-NAME, and returns the number of each kind."""
    counts = collections.Counter()
    for kind, name, contents in hostile_files(large=large):
        (folder / f"{kind}-{name}").write_bytes(contents)
        counts[kind] += 1
    return counts


def problems(results):
    """Returns the problems in the results of `examine`, `{name: result}`."""
    return [
        f"{name}: {result}"
        for name, result in results.items()
        if result["outcome"] not in ("pixels", "error")
        or (name.startswith(COMPLETE) and result["outcome"] != "pixels")
        or result["seconds"] > MAX_SECONDS
        or result["growth"] > result["declared"] + MAX_OTHER_BYTES
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    assert write_files(folder, large=False).total() >= 400
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return {path.name: examine(path) for path in sorted(folder.iterdir())}


def test_files_are_read_as_pillow_reads_them_or_refused(results):
    assert problems(results) == []
    outcomes = collections.Counter(result["outcome"] for result in results.values())
    assert min(outcomes["pixels"], outcomes["error"]) > 100


def test_detect_survives_all_of_them(folder, results, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )
    words = ["--weights", "w.h5", "--out", tmp_path / "out", "--json", tmp_path / "found.json"]
    # The detections of the fake model are 20 pixels high.
    images = [path for path in folder.iterdir() if path.suffix != ".bmp" and "1x60000" not in path.name]
    assert run("detect", *images, *words) == 3
    readable = {path.name for path in images if results[path.name]["outcome"] == "pixels"}
    found = {entry["file_name"] for entry in json.loads((tmp_path / "found.json").read_text())}
    assert found == readable
    assert len(list((tmp_path / "out").iterdir())) == len(readable)
    printed = capsys.readouterr()
    assert f"{len(images) - len(readable)} of {len(images)} files failed, the others are done" in printed.err
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.slow
def test_large_files_take_no_more_than_their_pixels(tmp_path):
    counts = write_files(tmp_path, large=True)
    program = HELPERS / "hostile_images_run.py"
    words = [sys.executable, program, tmp_path]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    results = {result.pop("name"): result for result in map(json.loads, lines)}
    assert len(results) == counts.total()
    assert problems(results) == []
