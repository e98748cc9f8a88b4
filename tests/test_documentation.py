"""The Python code blocks of each page of the documentation run, in their order, in an empty folder."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs").rglob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = PYTHON.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {"__name__": f"page_{page.stem}"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
