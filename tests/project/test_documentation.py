"""Tests of the documentation: its Python code runs, its commands parse, and its links resolve."""

import argparse
import re
import shlex

import pytest
from cli_fakes import FakePredictor, write_image
from locations import ROOT

from mask_rcnn.cli.main import COMMANDS

PAGES = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "export/README.md"]
TEXTS = [*OTHERS, *PAGES, *sorted((ROOT / "model_zoo").rglob("*.md"))]
# Pages that only lead to others, or that the site generates. All other pages need code that runs.
PAGES_WITHOUT_CODE = {"index.md", "reference/api.md", "reference/commands.md", "reference/config.md"}
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")


def name_of(page):
    """Returns the path of a page below `docs/` or the root folder, such as "extending/head.md"."""
    return page.relative_to(ROOT / "docs" if page in PAGES else ROOT).as_posix()


def test_the_pages_without_code_are_those_of_the_list():
    without = {name_of(page) for page in PAGES if not PYTHON.search(page.read_text(encoding="utf-8"))}
    assert without == PAGES_WITHOUT_CODE


@pytest.mark.parametrize(
    "page", [page for page in PAGES if name_of(page) not in PAGES_WITHOUT_CODE], ids=name_of
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = PYTHON.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {"__name__": f"page_{page.stem}"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


@pytest.fixture(scope="module")
def parser():
    root = argparse.ArgumentParser(prog="mask-rcnn", exit_on_error=False)
    commands = root.add_subparsers()
    for command in COMMANDS:
        command.add_parser(commands)
    return root


def commands_of(page):
    """Returns the words of each `mask-rcnn` command of a page. "..." marks an incomplete command."""
    fenced = FENCED.findall(page.read_text(encoding="utf-8"))
    blocks = [text for language, text in fenced if not language]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line.partition("mask-rcnn ")[2] for line in lines if line.startswith("mask-rcnn ")]
    return [shlex.split(command, comments=True) for command in commands if "..." not in command]


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_the_commands_of_a_page_have_the_options_that_it_shows(page, parser):
    for words in commands_of(page):
        parser.parse_args(words)  # exits with an error otherwise


def test_the_first_hour_has_commands():
    assert len(commands_of(ROOT / "README.md")) > 5


def test_the_five_lines_of_the_readme_draw_what_is_likely(tmp_path, monkeypatch):
    write_image(tmp_path / "demo/run/data/val/images/000000.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mask_rcnn.prediction.predict.load", lambda path: FakePredictor())
    (code, *_), names = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8")), {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["detections"].scores.min() < 0.5 and names["picture"].any()
