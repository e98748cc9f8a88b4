"""Tests of the second process that checks image files while the annotations are read."""

import json
import os
import subprocess

import pytest
from PIL import Image

from mask_rcnn.data.image_io import checked_files
from mask_rcnn.data.readers import background_check
from mask_rcnn.data.readers.coco import read_coco

NUM_IMAGES = checked_files.MIN_REMEMBERED


@pytest.fixture
def large_set(tmp_path, monkeypatch):
    """A folder of `NUM_IMAGES` images, and COCO content with all of them."""
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "one.png")
    for index in range(NUM_IMAGES):
        os.link(tmp_path / "one.png", folder / f"{index}.png")
    images = [
        {"id": index + 1, "file_name": f"{index}.png", "height": 6, "width": 8, "note": "-" * 1000}
        for index in range(NUM_IMAGES)
    ]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
    return folder, {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "cup"}]}


@pytest.fixture
def processes(monkeypatch):
    """The list of started processes, and the list of files that this process checked."""
    started, checked = [], []
    start, check = subprocess.Popen, checked_files._check
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **kw: started.append(start(*args, **kw)) or started[-1]
    )
    monkeypatch.setattr(
        checked_files, "_check", lambda name, *kind: checked.append(name) or check(name, *kind)
    )
    return started, checked


def written(folder, content):
    path = folder.parent / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_files_are_checked_ahead_once(large_set, processes):
    folder, content = large_set
    started, checked = processes
    path = written(folder, content)
    first = read_coco(path, folder)
    assert [process.returncode for process in started] == [0] and not checked
    second = read_coco(path, folder)
    assert len(started) == 1 and not checked
    assert len(first) == len(second) == NUM_IMAGES


def test_a_broken_file_is_reported_as_without_the_process(large_set, processes, monkeypatch):
    folder, content = large_set
    started, checked = processes
    (folder / "7.png").unlink()
    (folder / "7.png").write_bytes(b"no image")
    path = written(folder, content)
    ahead = read_coco(path, folder).warnings
    assert started and checked == [str(folder / "7.png")]
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setenv("MASK_RCNN_DATA_CACHE", "off")
    assert read_coco(path, folder).warnings == ahead and len(started) == 1


def test_a_json_that_cannot_be_read_ends_the_process(large_set, processes):
    folder, content = large_set
    del content["categories"]
    with pytest.raises(ValueError, match="categories"):
        read_coco(written(folder, content), folder)
    assert [process.poll() is not None for process in processes[0]] == [True]


def test_a_system_without_processes_reads_all_itself(large_set, processes, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", fail)
    assert len(read_coco(written(*large_set), large_set[0])) == NUM_IMAGES
    assert len(processes[1]) == NUM_IMAGES


def test_a_small_json_in_a_large_folder_starts_no_process(large_set, processes):
    folder, content = large_set
    content["images"] = content["images"][:10]
    assert len(read_coco(written(folder, content), folder)) == 10 and not processes[0]


def test_files_are_not_checked_ahead_without_a_cache(large_set, processes, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_DATA_CACHE", "off")
    assert len(read_coco(written(*large_set), large_set[0])) == NUM_IMAGES
    assert not processes[0]


def test_only_the_files_of_the_folder_count(large_set):
    folder, content = large_set
    (folder / "0.png").unlink()
    path = written(folder, content)
    assert not background_check._is_worth_it(path, folder)  # one file too few
    assert not background_check._is_worth_it(path, folder / "missing")
    assert not background_check._is_worth_it(folder / "missing.json", folder)
