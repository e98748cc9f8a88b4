"""Finds pairs of overlapping intervals in one vectorized sweep."""

import numpy as np


def overlapping_intervals(groups, low, high, is_open=None):
    """Yields all pairs of overlapping intervals of the same group, in several parts.

    The intervals are sorted by their lower ends. Each interval is compared with the next one, those that
    overlap it with the second next one, and so on. So time and memory are proportional to the number of
    pairs.

    Args:
        groups: `[N]` int, group of each interval.
        low: `[N]`, lower ends.
        high: `[N]`, upper ends, inclusive.
        is_open: Function from `[M]` groups to `[M]` bool, whether more pairs of a group are needed. Defaults
            to None: all pairs.

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
        if is_open is not None:
            first = first[is_open(groups[first])]
        if not len(first):
            return
        yield order[first], order[first + step]
        step += 1
