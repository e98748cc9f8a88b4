"""How far a command is: a bar on a terminal, a line now and then elsewhere, both on stderr."""

import datetime
import sys
import time

from mask_rcnn.terminal import say

SECONDS_BETWEEN_LINES = 10.0


def track(items, total, description, size=lambda item: 1):
    """Yields `items` and shows how many of `total` are done, and how long the others will take.

    Args:
        items: an iterable.
        total: how many it has, or about as many.
        description: what is being done, in a word or two.
        size: Function of an item, how many it counts for. Defaults to one.
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
            left = datetime.timedelta(seconds=round((now - started) / done * max(total - done, 0)))
            say(f"{description}: {done}/{total}, about {left} left", file=sys.stderr)
            next_line = now + SECONDS_BETWEEN_LINES
