"""Finds pairs of overlapping intervals in one vectorized sweep."""

from collections.abc import Callable, Iterator

import numpy as np


def overlapping_intervals(
    groups: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    needs_more: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields all pairs of overlapping intervals of the same group, in several parts.

    The intervals are sorted by their lower ends. Each interval is compared with the next one, those that
    overlap it with the second next one, and so on. Time and memory are therefore proportional to the number
    of pairs.

    Args:
        groups: `[N]` int, group of each interval.
        low: `[N]`, lower ends.
        high: `[N]`, upper ends, inclusive.
        needs_more: Function of `[M]` groups that returns `[M]` bool, whether more pairs of a group are
            needed. Defaults to None: all pairs are needed.

    Yields:
        `(i, j)`, `[M]` int64 each, indices of intervals with `low[i] <= low[j] <= high[i]`.
    """
    order = np.lexsort((low, groups))
    groups, low, high = groups[order], low[order], high[order]
    first, step = np.arange(len(order)), 1
    while True:
        first = first[first + step < len(order)]
        second = first + step
        first = first[(groups[first] == groups[second]) & (low[second] <= high[first])]
        if needs_more is not None:
            first = first[needs_more(groups[first])]
        if not len(first):
            return
        yield order[first], order[first + step]
        step += 1
