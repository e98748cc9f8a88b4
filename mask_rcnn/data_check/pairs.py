"""Pairs of intervals that overlap, found in one vectorized sweep."""

import numpy as np


def overlapping_pairs(groups, low, high, is_open=None):
    """Yields all pairs of intervals of the same group that overlap, in parts.

    The intervals are sorted by their lower ends. Each one is compared with its next neighbor, those that
    overlap it with the second next, and so on: time and memory follow the number of pairs.

    Args:
        groups: `[N]` int, group of each interval.
        low: `[N]` lower ends.
        high: `[N]` upper ends, included.
        is_open: Function of `[M]` groups to `[M]` bool, whether more pairs of a group are wanted. Defaults to
            None, which wants all.

    Yields:
        `(i, j)`, `[M]` int64 each: indices of intervals; `low[i] <= low[j] <= high[i]`.
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
