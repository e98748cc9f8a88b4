"""Tests of atomic writes: complete or absent files, by any number of processes, without leftovers."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from mask_rcnn.system.files import PREFIX, atomic_write, remove_leftovers

WRITE_AND_WAIT = """
import sys, time
from mask_rcnn.system.files import atomic_write
with atomic_write(sys.argv[1]) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing `tmp_path / "file"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, tmp_path / "file"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "file"
    for text in ("first", "second"):
        with atomic_write(path) as partial:
            assert partial.name == path.name
            partial.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "model"
    for name in ("first", "second"):
        with atomic_write(path) as partial:
            (partial / "variables").mkdir(parents=True)
            (partial / "variables" / name).write_text(name)
    assert [each.name for each in (path / "variables").iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), FileNotFoundError("gone"), KeyboardInterrupt()])
def test_a_failure_midway_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    replace = os.replace

    def fail_for_the_new_one(source, target):
        if target == path and "new" in source.parts:
            raise OSError("no permission")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_for_the_new_one)
    with pytest.raises(OSError, match="no permission"), atomic_write(path) as partial:
        partial.mkdir()
    assert [each.name for each in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_touch_each_other(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as one, atomic_write(path) as two:  # one process: equal process ids
        one.write_text("one")
        two.write_text("two")
        assert one.read_text() == "one"
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "file") as partial:
            partial.write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    with atomic_write(tmp_path / "link") as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "elsewhere" / "file").read_text() == "new"


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").touch()
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "folder") as partial:
        partial.write_text("new")
    assert (tmp_path / "folder" / "photo").exists()


def test_a_pipe_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a device, pipe or socket"), atomic_write(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_leftovers_of_a_killed_process_are_removed_and_those_of_a_living_one_stay(tmp_path, writer):
    (tmp_path / ".hidden").touch()
    (tmp_path / f"{PREFIX}file").touch()  # a user's file
    assert remove_leftovers(tmp_path) == 0
    assert any(path.is_dir() for path in tmp_path.glob(f"{PREFIX}*"))
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert remove_leftovers(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", f"{PREFIX}file"]


def test_a_folder_whose_replacement_was_killed_halfway_is_put_back(tmp_path):
    old = tmp_path / f"{PREFIX}12345678" / "old" / "model"
    old.mkdir(parents=True)
    (old / "weights").touch()
    assert remove_leftovers(tmp_path) == 1
    assert (tmp_path / "model" / "weights").exists()


def test_without_locks_only_old_leftovers_are_removed(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError("No locks available")

    monkeypatch.setattr("mask_rcnn.system.files.fcntl.flock", flock)
    with atomic_write(tmp_path / "file") as partial:
        partial.write_text("new")
        assert remove_leftovers(tmp_path) == 0
    leftover = tmp_path / f"{PREFIX}12345678"
    leftover.mkdir()
    os.utime(leftover, (time.time() - 90_000,) * 2)
    assert remove_leftovers(tmp_path) == 1


def test_a_missing_folder_has_no_leftovers(tmp_path):
    assert remove_leftovers(tmp_path / "absent") == 0
