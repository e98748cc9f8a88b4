"""Tests of `mask-rcnn data check`: exit status, written files, and invalid command lines."""

import json

import pytest
from cli_fakes import run
from faulty_coco import write_clean, write_faulty


def check(folder, *words):
    return run("data", "check", "--annotations", folder / "instances.json", "--images", folder, *words)


@pytest.mark.parametrize(
    ("fault", "status"), [("cut_off", 1), ("unreadable", 1), ("crossing", 0), ("no_object", 0)]
)
def test_only_errors_change_the_exit_status(fault, status, tmp_path, capsys):
    if fault == "unreadable":
        write_clean(tmp_path)
        (tmp_path / "instances.json").write_text("{")
    else:
        write_faulty(tmp_path, fault)
    assert check(tmp_path) == status
    assert ("Training would stop" in capsys.readouterr().out) == bool(status)


def test_a_clean_data_set_gives_0(tmp_path, capsys):
    write_clean(tmp_path)
    assert check(tmp_path) == 0
    assert "0 errors, 0 warnings, 0 notes. Ready to train." in capsys.readouterr().out


def test_json_page_and_repaired_copy_are_written(tmp_path, capsys):
    write_faulty(tmp_path / "data", "crossing")
    out = {name: tmp_path / "out" / name for name in ("report.json", "page.html", "fixed.json")}
    words = ["--json", out["report.json"], "--html", out["page.html"], "--fix", out["fixed.json"]]
    assert check(tmp_path / "data", *words) == 0
    assert "polygons that cross themselves were written as run lengths (1: annotation 8)" in (
        capsys.readouterr().out
    )
    (finding,) = json.loads(out["report.json"].read_text())["findings"]
    assert (finding["kind"], finding["count"]) == ("self_crossing", 1)
    assert finding["examples"][0]["annotation"] == 8
    page = out["page.html"].read_text()
    assert page.count('src="data:image/jpeg;base64,') == 1
    words = ["--annotations", out["fixed.json"], "--images", tmp_path / "data"]
    assert run("data", "check", *words) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out


def test_a_file_without_clear_meaning_is_not_repaired(tmp_path, capsys):
    write_faulty(tmp_path, "unclear")
    assert check(tmp_path, "--fix", tmp_path / "fixed.json") == 1
    assert "fixed.json was not written" in capsys.readouterr().out
    assert not (tmp_path / "fixed.json").exists()


def test_a_wrong_folder_is_not_repaired(tmp_path, capsys):
    write_clean(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    words = ["--annotations", tmp_path / "data" / "instances.json", "--images", tmp_path / "empty"]
    assert run("data", "check", *words, "--fix", tmp_path / "fixed.json") == 2
    captured = capsys.readouterr()
    assert "Images cannot be used because of their file" in captured.out
    assert "Check the folder" in captured.err
    assert not (tmp_path / "fixed.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--annotations", "none.json", "--images", "."], "none.json"),
        (["--annotations", "instances.json", "--images", "no_folder"], "folder of the images"),
        (["--annotations", "instances.json"], "--images"),
        (["--images", "."], "--annotations"),
        (
            ["--annotations", "instances.json", "--images", ".", "--val-images", "."],
            "needs `--val-annotations`",
        ),
        (["--annotations", "instances.json", "--images", ".", "--config", "no_recipe"], "no_recipe"),
        (["--annotations", "instances.json", "--images", ".", "--fix", "./instances.json"], "never changed"),
    ],
)
def test_a_wrong_command_line_gives_2(words, message, tmp_path, monkeypatch, capsys):
    write_clean(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "instances.json").read_bytes()
    assert run("data", "check", *words) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "instances.json").read_bytes() == before


def test_the_exit_status_is_in_the_help(capsys):
    assert run("data", "check", "--help") == 0
    assert "exit status: 0 without errors, 1 if errors were found" in " ".join(
        capsys.readouterr().out.split()
    )
