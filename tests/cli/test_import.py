"""Tests of `--import`: the commands can use what a user's file registers."""

import subprocess
import sys

import pytest
from cli_fakes import run

HEAD = '''
from dataclasses import dataclass

from mask_rcnn.data.augmentation.augment import TRANSFORMS
from mask_rcnn.heads import Head, register_head


@dataclass(frozen=True, kw_only=True)
class ImportedConfig:
    pool_size: int = 5


@register_head("imported", ImportedConfig)
class ImportedHead(Head):
    """Says nothing."""


@TRANSFORMS.register("imported")
def imported(sample, rng):
    """Changes nothing."""
    return sample
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "imported_head.py").write_text(HEAD)
    (tmp_path / "broken_head.py").write_text("1 / 0")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "numpy.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("name", ["code/imported_head.py", "imported_head"])
def test_a_config_may_name_what_an_imported_file_registers(folder, name):
    (folder / "code").mkdir()
    (folder / "code" / "imported_head.py").write_text(HEAD)
    words = [sys.executable, "-m", "mask_rcnn", "config", "show", "shapes", "--import", name]
    done = subprocess.run(
        [*words, "--set", "heads.imported={}"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "  imported:\n" in done.stdout and "pool_size: 5" in done.stdout


@pytest.mark.parametrize(
    "name, message",
    [
        ("absent_head.py", "No module named 'absent_head'"),
        ("broken_head.py", "ZeroDivisionError: division by zero"),
        ("other/numpy.py", "Rename the file"),
    ],
)
def test_code_that_cannot_be_imported_is_one_error(folder, name, message, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run("config", "list", "--import", str(folder / name)) == 2
    assert message in capsys.readouterr().err
