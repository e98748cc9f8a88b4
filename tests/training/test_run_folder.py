"""Tests that a run directory belongs to one run, and to one process at a time."""

import dataclasses
import os
import subprocess
import sys

import pytest
from training_run import TINY

from mask_rcnn.config_io import from_yaml, to_yaml
from mask_rcnn.system.files import PREFIX
from mask_rcnn.training import run_folder as module
from mask_rcnn.training.run_folder import (
    NAMES,
    check_has_run,
    check_run_folder,
    config_changes,
    run_folder,
    run_id_of,
    write_config,
)


def finish_step(folder):
    (folder / "log.csv").write_text("step,loss\n1,0.5\n")


def test_a_new_or_empty_folder_gets_a_run_with_an_id(tmp_path):
    for folder in (tmp_path / "deep" / "new", tmp_path):
        with run_folder(folder, resume=False) as run_id:
            assert run_id and run_id_of(folder) == run_id


def test_two_runs_have_different_ids(tmp_path):
    with run_folder(tmp_path / "a", False) as first, run_folder(tmp_path / "b", False) as second:
        assert first != second


def test_a_resumed_run_keeps_its_id(tmp_path):
    with run_folder(tmp_path, resume=False) as first:
        finish_step(tmp_path)
    with run_folder(tmp_path, resume=True) as second:
        assert first == second


def test_a_run_that_ended_before_its_first_step_may_be_started_again(tmp_path):
    with run_folder(tmp_path, resume=False):
        write_config(tmp_path, TINY)
    with run_folder(tmp_path, resume=False):
        pass


@pytest.mark.parametrize("trace", ["log.csv", "checkpoints/step_00000001.h5"])
def test_a_folder_with_steps_of_a_run_is_only_touched_to_resume_it(tmp_path, trace):
    with run_folder(tmp_path, resume=False):
        (tmp_path / trace).parent.mkdir(exist_ok=True)
        (tmp_path / trace).write_text("")
    with pytest.raises(ValueError, match="which holds a run. Resume it"):
        check_run_folder(tmp_path, resume=False)
    check_run_folder(tmp_path, resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "run.json"])
def test_what_the_user_has_in_a_folder_is_never_overwritten(tmp_path, name, resume):
    (tmp_path / name).write_text("mine")
    with (
        pytest.raises(ValueError, match=f"holds {name}. Nothing was changed"),
        run_folder(tmp_path, resume),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_broken_link_of_the_user_counts_as_a_file(tmp_path):
    (tmp_path / "final.weights.h5").symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(ValueError, match="holds final.weights.h5"):
        check_run_folder(tmp_path, resume=False)


def test_other_files_of_the_user_may_be_in_the_folder(tmp_path):
    (tmp_path / "output.txt").write_text("tee writes here")
    check_run_folder(tmp_path, resume=False)


@pytest.mark.parametrize("exists", [True, False])
def test_resuming_without_a_run_is_an_error(tmp_path, exists):
    folder = tmp_path if exists else tmp_path / "absent"
    with pytest.raises(ValueError, match="holds no run. Check the path"):
        check_has_run(folder)
    assert not (tmp_path / "absent").exists()


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="a file. Choose another path"):
        check_run_folder(tmp_path / "file", resume=False)


def test_a_damaged_marker_is_an_error(tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run\.json must hold"), run_folder(tmp_path, resume=True):
        pass


def test_a_second_run_in_the_same_folder_is_an_error_that_names_the_first(tmp_path):
    with (
        run_folder(tmp_path, resume=False),
        pytest.raises(ValueError, match=f"in use by process {os.getpid()} on "),
        run_folder(tmp_path, resume=True),
    ):
        pass
    with run_folder(tmp_path, resume=True):  # the lock is released
        pass


def test_what_a_killed_process_left_is_removed_at_the_start(tmp_path):
    leftovers = [tmp_path / f"{PREFIX}a", tmp_path / "checkpoints" / f"{PREFIX}b"]
    with run_folder(tmp_path, resume=False):
        for leftover in leftovers:
            (leftover / "new").mkdir(parents=True)
    with run_folder(tmp_path, resume=True):
        assert not any(leftover.exists() for leftover in leftovers)


def test_the_lock_of_a_killed_process_does_not_stay(tmp_path):
    program = (
        "import os, pathlib, signal, sys; from mask_rcnn.training.run_folder import run_folder\n"
        "with run_folder(pathlib.Path(sys.argv[1]), False): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path]).returncode == -9
    assert (tmp_path / "run.lock").read_text().startswith("process ")
    with run_folder(tmp_path, resume=True):
        pass


def test_a_system_without_locks_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "fcntl", None)
    with run_folder(tmp_path, resume=False):
        assert "cannot lock" in caplog.text


def test_changed_fields_of_a_config_are_named_with_both_values(tmp_path, caplog):
    with run_folder(tmp_path, resume=False):
        write_config(tmp_path, TINY)
        write_config(tmp_path, TINY)
        assert not caplog.text
        changed = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, learning_rate=0.5))
        write_config(tmp_path, changed)
    assert "changed config: train.learning_rate: 0.002 -> 0.5." in caplog.text
    assert from_yaml(tmp_path / "config.yaml") == changed


def test_a_removed_section_is_one_change():
    assert config_changes(TINY, dataclasses.replace(TINY, mask_head=None)) == ["mask_head: a section -> null"]


def test_the_config_survives_a_round_trip_without_a_change():
    assert config_changes(TINY, from_yaml(to_yaml(TINY))) == []
