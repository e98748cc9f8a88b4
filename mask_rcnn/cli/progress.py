"""Shows the progress of a command on stderr: a bar on a terminal, else a line every 10 seconds."""

import datetime
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mask_rcnn.system.terminal import print_line

SECONDS_BETWEEN_LINES = 10.0
Item = TypeVar("Item")


def track(
    items: Iterable[Item], total: int, description: str, *, size: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """Yields `items`, and shows how many of `total` are done and the estimated remaining time.

    Args:
        items: Iterable.
        total: Number of items, at least approximately.
        description: Name of the operation, such as "Detecting".
        size: Function of an item that returns the number that it adds to the progress. Defaults to 1 for
            each item.
    """
    if sys.stderr.isatty():
        import rich.console
        import rich.progress

        with rich.progress.Progress(console=rich.console.Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total)
            for item in items:
                yield item
                bar.advance(task, size(item))
        return
    done, started = 0, time.monotonic()
    next_line = started + SECONDS_BETWEEN_LINES
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now >= next_line:
            remaining = datetime.timedelta(seconds=round((now - started) / done * max(total - done, 0)))
            print_line(f"{description}: {done}/{total}, about {remaining} left", file=sys.stderr)
            next_line = now + SECONDS_BETWEEN_LINES
