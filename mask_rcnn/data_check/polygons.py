"""Computes bounds, areas and crossing edges of all polygons of a table, in blocks."""

import numpy as np

from mask_rcnn.data.annotation_table import AnnotationTable, as_floats, starts_of
from mask_rcnn.data.json_values import MAX_EXACT
from mask_rcnn.data_check.overlapping_intervals import overlapping_intervals

BLOCK = 1_000_000  # points of polygons that are processed together; needs about 200 MB
MIN_CROSS = 1e-6  # square pixels; a smaller cross product means a touch or a rounding error
MAX_CROSSINGS = 32  # maximum number of crossings per polygon that are examined
MIN_LOOP = 0.01  # fraction of the area; a smaller loop at a crossing hardly changes the mask


def crossing_polygons(table: AnnotationTable) -> tuple[np.ndarray, np.ndarray]:
    """Finds polygons that cross themselves and cut off a loop of more than `MIN_LOOP` of their area.

    Edges that touch or share a point do not count as crossing.

    Args:
        table: `AnnotationTable`.

    Returns:
        Tuple of
        polygons: `[M]` int64, index of each such polygon among the polygons of the table.
        fractions: `[M]` float64, fraction of its area in the smaller of the two loops at a crossing, up to
            0.5. It is the largest over its crossings.
    """
    polygons, fractions = [np.zeros(0, "int64")], [np.zeros(0)]
    for first, points, lengths in _blocks(table):
        crossing, fraction = _crossing(points, lengths)
        polygons.append(crossing + first)
        fractions.append(fraction)
    return np.concatenate(polygons), np.concatenate(fractions)


def polygon_bounds(table: AnnotationTable) -> np.ndarray:
    """Returns the box (x1, y1, x2, y2) around each polygon of a table, `[P, 4]` float64."""
    bounds = [np.zeros((0, 4))]
    for _, points, lengths in _blocks(table):
        starts = starts_of(lengths)
        low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        bounds.append(np.hstack([low, high]))
    return np.concatenate(bounds)


def polygon_areas(table: AnnotationTable) -> np.ndarray:
    """Returns the area of each polygon of a table, `[P]` float64. Self-crossing ones are too small."""
    areas = [np.zeros(0)]
    for _, points, lengths in _blocks(table):
        starts = starts_of(lengths)
        x, y = (points - np.repeat(points[starts], lengths, axis=0)).T
        following = _following(lengths)
        areas.append(np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts)) / 2)
    return np.concatenate(areas)


def _blocks(table):
    """Yields blocks of polygons: index of the first one, points `[V, 2]` (x, y), numbers of points `[P]`."""
    starts, first = table.number_starts // 2, 0  # [P + 1] points
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + BLOCK, "right")) - 1, first + 1)
        points = as_floats(table.numbers[2 * starts[first] : 2 * starts[last]]).reshape(-1, 2)
        points = np.clip(points, -MAX_EXACT, MAX_EXACT)  # polygons that no row uses may have any coordinate
        yield first, points, np.diff(starts[first : last + 1])
        first = last


def _following(lengths):
    """Returns for each point the index of the next point of its polygon, `[V]`."""
    following = np.arange(1, lengths.sum() + 1)
    starts = starts_of(lengths)
    following[starts + lengths - 1] = starts
    return following


def owners_of_polygons(table: AnnotationTable) -> np.ndarray:
    """Returns the row of each polygon, `[P]` int64, or -1 if no row uses it."""
    owners = np.full(len(table.polygon_lengths), -1, "int64")
    total = int(table.num_polygons.sum())
    rows = np.repeat(np.arange(len(table)), table.num_polygons)
    within = np.arange(total) - np.repeat(starts_of(table.num_polygons), table.num_polygons)
    owners[np.repeat(table.polygon_starts, table.num_polygons) + within] = rows
    return owners


def _crossing(points, lengths):
    """Returns the indices of self-crossing polygons, and the fraction of the area in their smaller loop.

    Args:
        points: `[V, 2]` (x, y), the polygons one after the other.
        lengths: `[P]`, number of points of each polygon.
    """
    starts, ends = starts_of(lengths), points[_following(lengths)]
    polygons = np.repeat(np.arange(len(lengths)), lengths)
    low, high = np.minimum(points, ends), np.maximum(points, ends)
    num_found, fractions = np.zeros(len(lengths), "int64"), np.zeros(len(lengths))

    def needs_more(groups):
        return num_found[groups] < MAX_CROSSINGS

    for i, j in overlapping_intervals(polygons, low[:, 0], high[:, 0], needs_more=needs_more):
        near = (low[j, 1] <= high[i, 1]) & (low[i, 1] <= high[j, 1])
        i, j = i[near], j[near]
        crossed = _cross(points[i], ends[i], points[j], ends[j])
        for first, second in zip(i[crossed].tolist(), j[crossed].tolist(), strict=True):
            p = polygons[first]
            if num_found[p] < MAX_CROSSINGS:
                edges = sorted((first - starts[p], second - starts[p]))
                fraction = _smaller_loop(points[starts[p] : starts[p] + lengths[p]], *edges)
                fractions[p] = max(fractions[p], fraction)
                num_found[p] += 1
    large = np.flatnonzero(fractions > MIN_LOOP)
    return large, fractions[large]


def _cross(a, b, c, d):
    """Returns which segments ab and cd cross in their interior, `[M]` bool. Each argument is `[M, 2]`."""

    def side(start, end, point):
        along, away = end - start, point - start
        product = along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0]
        return np.where(np.abs(product) > MIN_CROSS, np.sign(product), 0)

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def _smaller_loop(points, i, j):
    """Returns the fraction of the smaller of the two loops of a polygon whose edges `i` < `j` cross."""
    a, b, c, d = points[i], points[i + 1], points[j], points[(j + 1) % len(points)]
    along, across, offset = b - a, d - c, c - a
    product = along[0] * across[1] - along[1] * across[0]
    middle = a + along * (offset[0] * across[1] - offset[1] * across[0]) / product
    inner = _area(np.vstack([middle, points[i + 1 : j + 1]]))
    outer = _area(np.vstack([middle, points[j + 1 :], points[: i + 1]]))
    return min(inner, outer) / max(inner + outer, MIN_CROSS)


def _area(points):
    x, y = (points - points[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))) / 2
