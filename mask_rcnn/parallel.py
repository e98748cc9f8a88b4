"""Threads that work ahead of a loop: bounded, in order, and ended when the loop ends."""

import collections
import os
import queue
import threading

MAX_THREADS = 8  # more of them wait for the GIL


def default_threads():
    """Returns the number of threads for work beside a model: one for each core, at most `MAX_THREADS`."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def submit_ahead(pool, function, items, ahead):
    """Yields `(item, future)` in the order of `items`, and makes at most `ahead` calls in advance.

    Args:
        pool: `concurrent.futures.Executor`.
        function: Of one item.
        items: Iterable; the next item is taken only when there is room.
        ahead: Number of calls.
    """
    pending = collections.deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) > ahead:
            yield pending.popleft()
    yield from pending


def in_background(items, size):
    """Yields `items`, which a thread of its own makes; it waits when `size` of them wait for the loop.

    An error that `items` raises is raised in the loop. When the loop ends early (an error, Ctrl-C, `close`),
    `items` is closed after the item that is being made.

    Args:
        items: Generator.
        size: Number of items.
    """
    done, free, stop = queue.SimpleQueue(), threading.Semaphore(size), threading.Event()

    def make():
        try:
            for item in items:
                free.acquire()
                if stop.is_set():
                    break
                done.put((item, None, False))
        except BaseException as error:  # noqa: BLE001, it is raised in the loop
            done.put((None, error, True))
        else:
            done.put((None, None, True))
        finally:
            items.close()

    thread = threading.Thread(target=make, name="in_background", daemon=True)
    thread.start()
    try:
        while True:
            item, error, is_last = done.get()
            if error is not None:
                raise error
            if is_last:
                return
            free.release()
            yield item
    finally:
        stop.set()
        free.release()
        thread.join()


def equal_batches(items, key, batch_size, window):
    """Yields batches of items that have the same key.

    Args:
        items: Iterable.
        key: Function of an item. None means that the item is a batch of its own.
        batch_size: Items of a batch; fewer if no more come.
        window: An item waits for others of its key while at most this many items come after it.

    Yields:
        Lists of items.
    """
    groups = {}  # key -> (number of the first item, items); the oldest group comes first
    for number, item in enumerate(items):
        kind = key(item)
        if kind is None:
            yield [item]
            continue
        _, group = groups.setdefault(kind, (number, []))
        group.append(item)
        if len(group) == batch_size:
            yield groups.pop(kind)[1]
        oldest = next(iter(groups), None)
        if oldest is not None and number - groups[oldest][0] >= window:
            yield groups.pop(oldest)[1]
    for _, group in groups.values():
        yield group


def in_order(numbered):
    """Yields the values of `(number, value)` pairs by number, which count from 0 and come in any order."""
    waiting, following = {}, 0
    for number, value in numbered:
        waiting[number] = value
        while following in waiting:
            yield waiting.pop(following)
            following += 1
