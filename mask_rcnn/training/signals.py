"""Handles SIGTERM, SIGHUP and Ctrl-C during training: the current step ends and its state is saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import NoReturn, Self

from mask_rcnn.training.processes import RunContext

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STDERR = 2


class StopSignals:
    """Context manager in which the first signal only sets `received`.

    A second Ctrl-C ends the program at once. Outside of the main thread, and for a signal that the process
    ignores (`nohup`), it changes nothing. At its end, the previous signal handlers are restored.

    Attributes:
        received: Last `signal.Signals` since the start, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._nothing_to_save = False
        self._previous_handlers: dict[int, Callable | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                # None means a handler that was not set from Python, so Python could not restore it.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous_handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def received_by_any(self, context: RunContext) -> signal.Signals | None:
        """Returns a signal that at least one process has received, or None. All processes must then end.

        The signal is also set as `received`. All processes must call this method after the same step.

        Args:
            context: `RunContext`.
        """
        number = max(context.gather_numbers(self.received or 0))
        if not number:
            return None
        self.received = signal.Signals(number)
        return self.received

    @contextlib.contextmanager
    def nothing_to_save(self) -> Iterator[None]:
        """Context manager in which signals end the program at once, as the last step is already saved."""
        self._nothing_to_save = True
        if self.received is not None:
            self.end_program()
        try:
            yield
        finally:
            self._nothing_to_save = False

    def end_program(self, message: str = "") -> NoReturn:
        """Ends the program: raises `KeyboardInterrupt`, or `SystemExit` with code 128 + signal.

        Call it only after a signal was received.

        Args:
            message: Text for the user, written to stderr first. Defaults to "".
        """
        if self.received is None:
            raise ValueError("Expected a signal that ends the program. Received: none.")
        _write_unbuffered(f"{self.received.name}: the run ends. {message}\n")
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_repeated = self.received is not None
        self.received = signal.Signals(number)
        if self._nothing_to_save or (is_repeated and number == signal.SIGINT):
            self.end_program()
        if not is_repeated:
            _write_unbuffered(f"{self.received.name}: ending after this step. Ctrl-C ends at once.\n")


def _write_unbuffered(text: str) -> None:
    """Writes to stderr without Python's buffers, because the signal may have interrupted their use."""
    with contextlib.suppress(OSError):  # after SIGHUP the terminal is closed
        os.write(STDERR, text.encode())
