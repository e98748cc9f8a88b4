"""Tests that damaged and hostile weights are loaded as written, or give one error that names the file."""

import json
import subprocess
import sys

import pytest
from hostile_weights import CHECKSUMMED, FORMATS, MAX_SECONDS
from locations import HELPERS

MAX_GROWTH = 500  # MB


def results(folder, count, kind):
    script = HELPERS / "hostile_weights.py"
    command = [sys.executable, script, folder, str(count), kind]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def check(found, count, kind):
    assert len(found) == count
    # Formats without a checksum cannot detect changed numbers.
    allowed = {"equal", "refused"} if kind in CHECKSUMMED else {"equal", "refused", "changed"}
    assert [each for each in found if each["outcome"] not in allowed] == []
    assert [each for each in found if each["seconds"] > MAX_SECONDS or each["growth"] > MAX_GROWTH] == []
    assert kind == "checkpoint" or "refused" in {each["outcome"] for each in found}


@pytest.mark.parametrize("kind", FORMATS)
def test_some_damaged_files_of_each_format_are_read_as_written_or_refused(tmp_path, kind):
    check(results(tmp_path, 24, kind), 24, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_files_of_each_format_are_read_as_written_or_refused(tmp_path, kind):
    check(results(tmp_path, 300, kind), 300, kind)
