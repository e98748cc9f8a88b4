"""How far a command is: a bar on a terminal, a line now and then elsewhere, both on stderr."""

import datetime
import sys
import time

from mask_rcnn.terminal import say

SECONDS_BETWEEN_LINES = 10.0


def track(items, total, description):
    """Yields `items` and shows how many of `total` are done, and how long the others will take.

    Args:
        items: an iterable.
        total: how many it has, or about as many.
        description: what is being done, in a word or two.
    """
    if sys.stderr.isatty():
        import rich.console
        import rich.progress

        console = rich.console.Console(stderr=True)
        yield from rich.progress.track(items, description, total, console=console)
        return
    started = time.monotonic()
    next_line = started + SECONDS_BETWEEN_LINES
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now >= next_line:
            left = datetime.timedelta(seconds=round((now - started) / done * max(total - done, 0)))
            say(f"{description}: {done}/{total}, about {left} left", file=sys.stderr)
            next_line = now + SECONDS_BETWEEN_LINES
