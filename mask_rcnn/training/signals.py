"""SIGTERM, SIGHUP and Ctrl-C during training: the running step ends and its state is saved."""

import contextlib
import os
import signal
import threading

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STDERR = 2


class StopSignals:
    """A context in which the first signal only sets `received`; a second Ctrl-C ends the program at once.

    Outside the main thread, and for a signal that the process ignores (`nohup`), nothing changes. At the end
    of the context the handlers of before are back.

    Attributes:
        received: The first `signal.Signals` since the start, or None.
    """

    def __init__(self):
        self.received = None
        self._nothing_to_save = False
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                # None is a handler that was not set from Python: it could not be set again.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, context):
        """Returns the signal after which all processes end: one that any of them has received, or None.

        It becomes `received`. All processes must call this after the same step.

        Args:
            context: `RunContext`.
        """
        number = max(context.gather_numbers(self.received or 0))
        if not number:
            return None
        self.received = signal.Signals(number)
        return self.received

    @contextlib.contextmanager
    def nothing_to_save(self):
        """A context in which the state of the last step is saved already: signals end the program at once."""
        self._nothing_to_save = True
        if self.received is not None:
            self.end_program()
        try:
            yield
        finally:
            self._nothing_to_save = False

    def end_program(self, message=""):
        """Raises what ends a program: `KeyboardInterrupt`, or `SystemExit` with code 128 + signal.

        Args:
            message: Text for the user, written to stderr first.
        """
        _write_at_once(f"{self.received.name}: the run ends. {message}\n")
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.received)

    def _receive(self, number, frame):
        is_repeated = self.received is not None
        self.received = signal.Signals(number)
        if self._nothing_to_save or (is_repeated and number == signal.SIGINT):
            self.end_program()
        if not is_repeated:
            _write_at_once(f"{self.received.name}: ending after this step. Ctrl-C ends at once.\n")


def _write_at_once(text):
    """Writes to stderr without Python's buffers, which the signal may have interrupted in use."""
    with contextlib.suppress(OSError):  # SIGHUP: the terminal is gone
        os.write(STDERR, text.encode())
