"""Tests of the server as a process: it prints its address, and ends after signals and errors."""

import contextlib
import signal
import subprocess
import sys
import urllib.request

import pytest
from locations import HELPERS

PROGRAM = HELPERS / "serving_process.py"


@contextlib.contextmanager
def process(model="fruits"):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, PROGRAM, model], **pipes) as one:
        try:
            yield one
        finally:
            one.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_ends_it_in_order(number, code):
    with process() as server:
        url = next(line.split()[1] for line in server.stdout if line.startswith("Ready:"))
        assert urllib.request.urlopen(f"{url}/healthz", timeout=20).status == 200
        server.send_signal(number)
        out, _ = server.communicate(timeout=20)
        assert "fruits: version 1 is unloaded." in out
        assert server.returncode == code  # for SIGINT Python's own code, which `cli.main` changes to 130


def test_a_model_that_cannot_be_loaded_is_its_error():
    with process("broken") as server:
        out, error = server.communicate(timeout=20)
        assert server.returncode == 1
        assert error.splitlines()[-1] == "ValueError: Received: half a model."
        assert "Ready" not in out
