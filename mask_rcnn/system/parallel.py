"""Generators that compute ahead in threads, bounded and in order, and functions to batch and sort items."""

import collections
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

MAX_THREADS = 8  # more threads would only wait for the GIL

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_threads() -> int:
    """Returns the number of threads that prepare data for a model: one per core, at most `MAX_THREADS`."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def require_ray() -> None:
    """Raises a ValueError that names the package to install if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "Running on a Ray cluster needs the package ray. Received: an environment without it. "
            "Run `pip install mask-rcnn[ray]`."
        )


def submit_ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yields `(item, future)` in the order of `items`. Submits at most `ahead` calls in advance.

    Args:
        pool: `concurrent.futures.Executor`.
        function: Function of one item.
        items: Iterable. The next item is taken only when a call can be submitted.
        ahead: Maximum number of calls that are submitted in advance.
    """
    pending = collections.deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) > ahead:
            yield pending.popleft()
    yield from pending


def in_background(items: Generator[Item, None, None], size: int) -> Generator[Item, None, None]:
    """Yields `items`, which are computed in a background thread, at most `size` in advance.

    An exception in `items` is raised in the loop. When the loop ends early (exception, Ctrl-C, `close`),
    `items` is closed after its current item.

    Args:
        items: Generator.
        size: Maximum number of computed items that wait for the loop.
    """
    done, free, stop = queue.SimpleQueue(), threading.Semaphore(size), threading.Event()

    def produce():
        try:
            for item in items:
                free.acquire()
                if stop.is_set():
                    break
                done.put((item, None, False))
        except BaseException as error:  # noqa: BLE001, raised again in the loop
            done.put((None, error, True))
        else:
            done.put((None, None, True))
        finally:
            items.close()

    thread = threading.Thread(target=produce, name="in_background", daemon=True)
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


def equal_batches(
    items: Iterable[Item], key: Callable[[Item], Hashable], *, batch_size: int, window: int
) -> Iterator[list[Item]]:
    """Yields batches of items that have the same key.

    Args:
        items: Iterable.
        key: Function of an item. If it returns None, the item is a batch of its own.
        batch_size: Number of items per batch. The last batch of a key may be smaller.
        window: Maximum number of later items that an item waits for. Then its batch is yielded as it is.

    Yields:
        Lists of items.
    """
    groups = {}  # key -> (number of the first item, items); the oldest group comes first
    for number, item in enumerate(items):
        batch_key = key(item)
        if batch_key is None:
            yield [item]
            continue
        _, group = groups.setdefault(batch_key, (number, []))
        group.append(item)
        if len(group) == batch_size:
            yield groups.pop(batch_key)[1]
        oldest = next(iter(groups), None)
        if oldest is not None and number - groups[oldest][0] >= window:
            yield groups.pop(oldest)[1]
    for _, group in groups.values():
        yield group


def in_order(numbered: Iterable[tuple[int, Item]]) -> Iterator[Item]:
    """Yields the values of `(number, value)` pairs in the order of the numbers 0, 1, 2, ..."""
    waiting, next_number = {}, 0
    for number, value in numbered:
        waiting[number] = value
        while next_number in waiting:
            yield waiting.pop(next_number)
            next_number += 1
