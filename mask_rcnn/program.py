"""Another program that runs beside us, asked a line at a time and answering each with a line of JSON."""

import contextlib
import json
import subprocess
import tempfile

PATIENCE = 10  # seconds that it has to end
LAST_LINES = 5  # of its stderr, for an error


class Program:
    """A process of its own; a context manager.

    Args:
        words: its command line, the interpreter first.
        expected: what it should have been, one sentence, for the errors.
        advise: function of its message to what the user can do; by default to nothing.

    Attributes:
        process_id: while it runs.
    """

    def __init__(self, words, expected, advise=lambda message: ""):
        self._words = [str(word) for word in words]
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
    def process_id(self):
        return self._process.pid

    def ask(self, line):
        """Sends a line; returns its answer.

        Raises:
            ValueError: it answers with an error, with anything but JSON, or has ended.
        """
        with contextlib.suppress(BrokenPipeError):  # it has ended; its stderr says why
            print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        try:
            answer = json.loads(answer)
        except json.JSONDecodeError:
            raise ValueError(f"{self._expected} Received: {self._last_words(answer)}") from None
        if "error" in answer:
            error = answer["error"]
            raise ValueError(f"{self._expected} Received: {error}. {self._advise(error)}".rstrip())
        return answer

    def _start(self):
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                self._words, stdin=pipe, stdout=pipe, stderr=self._stderr, text=True, encoding="utf-8"
            )
        except OSError as error:
            raise ValueError(
                f"{self._expected} Received: {self._words[0]!r} ({error.strerror}). "
                "Give the bin/python of an environment."
            ) from error

    def _end(self):
        try:
            self._process.communicate(timeout=PATIENCE)  # closes its input, which ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _last_words(self, answer):
        """What it said where it should have answered: JSON is missing, or it has ended."""
        if answer:
            return repr(answer)
        self._process.wait(PATIENCE)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()[-LAST_LINES:]
        return "\n".join([f"exit code {self._process.returncode}.", *lines])
