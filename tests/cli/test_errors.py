"""Tests that every exception becomes a message without a traceback, with the exit code of its kind."""

import json
import logging
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.cli import config
from mask_rcnn.cli.errors import EXIT_CODES
from mask_rcnn.cli.main import main
from mask_rcnn.errors import PartialFailure, short_message
from mask_rcnn.model_zoo.registry import find


def run(*words):
    """Runs `mask-rcnn` in this process and returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", *map(str, words)])
    return stop.value.code


def raised(call, *arguments):
    """Returns the exception of a call, with its traceback."""
    try:
        call(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def out_of_memory():
    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,1]")


CASES = {
    "no such file": (lambda: raised(open, "absent.txt"), 2, "No such file or directory: absent.txt."),
    "a full disk": (lambda: OSError(28, "No space left on device"), 2, "No space left on device."),
    "our sentence": (lambda: raised(find, "no_such_model"), 2, "no_such_model"),
    "json": (lambda: raised(json.loads, "{"), 2, "cannot be read as text"),
    "encoding": (lambda: raised(b"\xff".decode), 2, "cannot be read as text"),
    "memory": (lambda: MemoryError(), 2, "train.batch_size"),
    "memory of a GPU": (out_of_memory, 2, "train.batch_size"),
    "part": (lambda: PartialFailure("1 of 2 files failed: a.jpg"), 3, "1 of 2 files failed: a.jpg"),
    "a library's ValueError": (lambda: raised(np.zeros(3).reshape, 2), 1, "bug in mask-rcnn"),
    "a KeyError": (lambda: raised(dict().__getitem__, "area"), 1, "KeyError: 'area'. This is a bug"),
    "recursion": (lambda: RecursionError("maximum recursion"), 1, "nested too deeply"),
    "TensorFlow": (
        lambda: raised(tf.io.decode_png, b"no picture"),
        1,
        "InvalidArgumentError: {{function_node",
    ),
}


@pytest.mark.parametrize("make, code, text", CASES.values(), ids=CASES)
def test_every_exception_is_one_line_with_an_exit_code(make, code, text, monkeypatch, capsys):
    error = make()

    def fail(args):
        raise error

    monkeypatch.setattr(config, "run_list", fail)
    assert run("config", "list") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mask-rcnn: error: ") and text in line and "Traceback" not in line


def test_escape_sequences_of_an_error_and_of_its_traceback_are_not_printed(monkeypatch, capsys):
    def fail(args):
        raise ValueError("Received: \x1b]0;owned\x07.")

    monkeypatch.setattr(config, "run_list", fail)
    run("config", "list", "-v", "1")
    error = capsys.readouterr().err
    assert "Traceback" in error and r"\x1b]0;owned\x07" in error and "\x1b" not in error
    run("config", "list", "-v", "0")


def test_escape_sequences_of_the_log_are_not_printed(monkeypatch, capsys):
    monkeypatch.setattr(config, "run_list", lambda args: logging.getLogger("absl").warning("%s", "\x1b[2J"))
    assert run("config", "list") == 0
    assert "\x1b" not in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "run_list", interrupt)
    assert run("config", "list") == 130
    assert capsys.readouterr().err == "mask-rcnn: interrupted\n"


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_lets_a_command_clean_up_and_exits_with_its_code(name, code, monkeypatch):
    cleaned = []

    def wait(args):
        try:
            signal.raise_signal(getattr(signal, name))
        finally:
            cleaned.append(True)

    monkeypatch.setattr(config, "run_list", wait)
    assert run("config", "list") == code and cleaned
    assert signal.getsignal(getattr(signal, name)) == signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    monkeypatch.setattr(config, "run_list", lambda args: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("config", "list") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_escape_sequences_of_the_command_line_are_not_printed(capsys):
    assert run("config", "list", "--\x1b[2J") == 2
    assert r"--\x1b[2J" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_traceback():
    words = f"{sys.executable} -m mask_rcnn config list | head -n 1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1


def test_help_states_the_exit_codes(capsys):
    assert run("--help") == 0
    assert EXIT_CODES in capsys.readouterr().out


GRAPH_ERROR = """Graph execution error:

Detected at node Where defined at (most recent call last):
<stack traces unavailable>
OOM when allocating tensor with shape[9] and type float on /cpu:0
\t [[{{node Where}}]] [Op:__inference_f_12]"""


def test_messages_of_tensorflow_are_shortened():
    error = tf.errors.InvalidArgumentError(None, None, GRAPH_ERROR)
    assert short_message(error) == "OOM when allocating tensor with shape[9] and type float on /cpu:0"


def test_a_long_message_is_cut():
    assert len(short_message(KeyError("x" * 10**6))) < 400


def test_a_message_without_text_is_the_name_of_its_kind():
    assert short_message(AssertionError()) == "AssertionError"


def test_an_operation_that_fails_in_a_graph_is_one_line():
    @tf.function
    def fail(data):
        return tf.io.decode_image(data)

    line = short_message(raised(fail, tf.constant(b"no picture")))
    assert "\n" not in line and "image" in line.lower() and "node" not in line
