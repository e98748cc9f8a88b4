"""Shows the progress of a run: a bar on a terminal, otherwise a plain line every few seconds."""

import datetime
import time
from collections import deque
from types import TracebackType
from typing import Self

import rich.console
import rich.progress

from mask_rcnn.training.step_callback import StepCallback

# With a line every ten seconds, the log file of a day of training stays readable.
SECONDS_BETWEEN_LINES = 10.0
# Number of recent steps over which loss and speed are averaged.
WINDOW = 20


class Progress(StepCallback):
    """Shows step, loss, learning rate, images per second and the remaining time of the run.

    Use it as a context manager around `fit`, so that the terminal is restored after an error.

    Args:
        first_step, last_step: As in `StepCallback`.
        batch_size: Number of images per step.
        console: `rich.console.Console`. Defaults to standard output.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int,
        *,
        batch_size: int,
        console: rich.console.Console | None = None,
    ) -> None:
        super().__init__(first_step, last_step)
        self.batch_size = batch_size
        self.console = console or rich.console.Console()
        self.recent: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # (loss, seconds)
        # (step, time) after the first step, which is slow because it traces the graph
        self.started: tuple[int, float] | None = None
        self.next_line = 0.0
        self.bar = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.bar.start()
        self.task = self.bar.add_task("building the graph", total=self.last_step, completed=self.first_step)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def on_step(self, step: int, logs: dict[str, float], seconds: float) -> None:
        now = time.perf_counter()
        self.recent.append((logs["loss"], seconds))
        text = self.describe(step, logs["learning_rate"], now)
        if self.console.is_terminal:
            self.bar.update(self.task, completed=step, description=text)
        elif now >= self.next_line or step == self.last_step:
            self.console.print(text, highlight=False, soft_wrap=True)
            self.next_line = now + SECONDS_BETWEEN_LINES
        if self.started is None:
            self.started = step, now
            self.recent.clear()

    def describe(self, step: int, learning_rate: float, now: float) -> str:
        """Returns the line for a step.

        Args:
            step: Number of the finished step, from 1.
            learning_rate: Learning rate of the step.
            now: Current value of `time.perf_counter()`.
        """
        losses, seconds = zip(*self.recent, strict=True)
        speed = self.batch_size * len(seconds) / sum(seconds)
        return (
            f"step {step}/{self.last_step}  loss {sum(losses) / len(losses):.4f}  lr {learning_rate:.3g}  "
            f"{speed:.2f} images/s  ETA {self.time_left(step, now)}"
        )

    def time_left(self, step: int, now: float) -> datetime.timedelta | str:
        """Returns the remaining time at the mean speed so far, including evaluations, or "unknown"."""
        if self.started is None:
            return "unknown"
        first, start = self.started
        return datetime.timedelta(seconds=round((now - start) / (step - first) * (self.last_step - step)))
