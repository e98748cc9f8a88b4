"""Compares the page's JavaScript with Python. The tests need Node.js, which users do not need."""

import json
import re
import shutil
import subprocess

import pytest
from locations import TESTS
from web_cases import make_cases

from mask_rcnn.export.runners import lite_runner
from mask_rcnn.shipped_files import shipped_folder

WEB = shipped_folder("export/web")
NODE = shutil.which("node")
OTHER_HOST = re.compile(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.IGNORECASE)


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_the_numbers_of_the_page_are_those_of_python(tmp_path):
    for script in WEB.iterdir():
        if script.name.endswith(".js"):
            shutil.copy(script, tmp_path)
    cases, model = make_cases()
    (tmp_path / "model.tflite").write_bytes(model)
    cases["assets"] = lite_runner.read_associated_files(tmp_path / "model.tflite")
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(TESTS / "export" / "web_page.test.js", tmp_path)
    result = subprocess.run(
        [NODE, "--test", "--test-reporter=tap"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout[-4000:]
    (passed,) = re.findall(r"^# pass (\d+)$", result.stdout, re.MULTILINE)
    assert int(passed) > 15


def test_the_page_asks_no_other_host():
    for file in WEB.iterdir():
        links = OTHER_HOST.findall(file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", ""))
        assert not links, (file.name, links)


def test_the_page_allows_its_own_scripts_only():
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy" content="([^"]+)"', (WEB / "index.html").read_text()
    )
    rules = {name: values for name, *values in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert rules["style-src"] == ["'self'"]
    page = (WEB / "index.html").read_text()
    assert "<style" not in page and " style=" not in page and not re.search(r"\son[a-z]+=", page)


def test_scripts_are_in_lines_of_110_and_files_of_300():
    for script in WEB.iterdir():
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, script.name
        if script.name.endswith(".js"):
            assert max(map(len, lines)) <= 110, script.name
