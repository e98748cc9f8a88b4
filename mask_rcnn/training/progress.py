"""How far a run is: a bar on a terminal, a plain line now and then in a file."""

import datetime
import time
from collections import deque

import rich.console
import rich.progress

from mask_rcnn.training.callbacks import StepCallback

# A file of a day's training stays readable with a line each ten seconds.
SECONDS_BETWEEN_LINES = 10.0
# Steps whose mean loss and speed are shown.
WINDOW = 20


class Progress(StepCallback):
    """Shows step, loss, learning rate, images a second and the time that the whole run still takes.

    Use it as a context around `fit`, so that an error leaves the terminal in order.

    Args:
        first_step, last_step: as in `StepCallback`.
        batch_size: images a step.
        console: a `rich.console.Console`; None is standard output.
    """

    def __init__(self, first_step, last_step, batch_size, console=None):
        super().__init__(first_step, last_step)
        self.batch_size = batch_size
        self.console = console or rich.console.Console()
        self.recent = deque(maxlen=WINDOW)  # (loss, seconds)
        self.started = None  # (step, time) after the first step, which traces the graph
        self.next_line = 0.0
        self.bar = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self):
        self.bar.start()
        self.task = self.bar.add_task("building the graph", total=self.last_step, completed=self.first_step)
        return self

    def __exit__(self, *error):
        self.bar.stop()

    def on_step(self, step, logs, seconds):
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

    def describe(self, step, learning_rate, now):
        losses, seconds = zip(*self.recent, strict=True)
        speed = self.batch_size * len(seconds) / sum(seconds)
        return (
            f"step {step}/{self.last_step}  loss {sum(losses) / len(losses):.4f}  lr {learning_rate:.3g}  "
            f"{speed:.2f} images/s  ETA {self.time_left(step, now)}"
        )

    def time_left(self, step, now):
        """The time of the steps that are left at the pace so far, evaluations counted in."""
        if self.started is None:
            return "unknown"
        first, start = self.started
        return datetime.timedelta(seconds=round((now - start) / (step - first) * (self.last_step - step)))
