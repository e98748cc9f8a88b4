"""Subprocesses that answer requests: each request is a line of text, each answer a line of JSON."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

TIMEOUT = 10  # seconds until a process that does not end is killed
MAX_STDERR_LINES = 5  # of stderr that an error message quotes


class JsonSubprocess:
    """A subprocess that answers requests. The context manager starts and ends it.

    Args:
        command: Command line: the program (for example a Python interpreter) and its arguments.
        expected: Sentence that says what is expected. Error messages begin with it.
        advise: Function of the subprocess's error message that returns what the user can do. Defaults to a
            function that returns an empty string.
    """

    def __init__(
        self, command: Sequence[str | Path], expected: str, advise: Callable[[str], str] = lambda message: ""
    ):
        self._command = [str(part) for part in command]
        self._expected = expected
        self._advise = advise

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._stderr = stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = stack.enter_context(self._start())
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    @property
    def process_id(self) -> int:
        """Id of the process while it runs."""
        return self._process.pid

    def ask(self, line: str) -> dict:
        """Sends a request and returns the answer.

        Args:
            line: One line of text without a newline.

        Returns:
            The parsed JSON answer, a dict.

        Raises:
            ValueError: If the answer has a key "error" or is not JSON, or if the process has ended.
        """
        with contextlib.suppress(BrokenPipeError):  # the process has ended; its stderr contains the reason
            print(line, file=self._process.stdin, flush=True)
        reply = self._process.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess], a pipe
        try:
            answer = json.loads(reply)
        except json.JSONDecodeError:
            raise ValueError(f"{self._expected} Received: {self._reply_or_exit(reply)}") from None
        if "error" in answer:
            error = answer["error"]
            raise ValueError(f"{self._expected} Received: {error}. {self._advise(error)}".rstrip())
        return answer

    def _start(self):
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=self._stderr, text=True, encoding="utf-8"
            )
        except OSError as error:
            raise ValueError(
                f"{self._expected} Received: {self._command[0]!r} ({error.strerror}). "
                "Give the path of bin/python in a virtual environment."
            ) from error

    def _end(self):
        try:
            self._process.communicate(timeout=TIMEOUT)  # closes stdin, which ends the process
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _reply_or_exit(self, reply):
        """Returns a reply that is not JSON, or the exit code and the end of stderr of an ended process."""
        if reply:
            return repr(reply)
        self._process.wait(TIMEOUT)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()[-MAX_STDERR_LINES:]
        return "\n".join([f"exit code {self._process.returncode}.", *lines])
