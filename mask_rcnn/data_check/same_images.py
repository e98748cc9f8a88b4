"""Finds image files with the same bytes and photographs that look the same, in one data set or in two.

The difference hashes of candidates differ in at most `MAX_BITS` bits. Then the colors of the thumbnails of a
pair are compared, because dark or plain images of different scenes often have the same hash.
"""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.data.records import ImageRecord
from mask_rcnn.data_check.decoded_images import DecodedImages
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding

MAX_BITS = 5  # of 64; hashes of one photograph in different sizes and qualities differ in 0 to 4 bits
BANDS = MAX_BITS + 1  # parts of a hash; if at most MAX_BITS bits differ, at least one part is equal
MIN_CORRELATION = 0.985  # of the colors of two thumbnails
MIN_CONTRAST = 3.0  # standard deviation of a thumbnail in 0..255; plainer images look like many others
THUMBNAILS_AT_ONCE = 10_000  # pairs whose colors are compared together; needs about 150 MB
PAIRS_AT_ONCE = 1_000_000  # candidates that are compared together; needs about 50 MB


def same_image_findings(
    records: Sequence[ImageRecord], decoded: DecodedImages, splits: Sequence[str]
) -> list[Finding]:
    """Returns the findings about duplicate images.

    Args:
        records: `ImageRecord`s of all sets, N.
        decoded: Their `DecodedImages`.
        splits: `[N]`, name of the set of each image.

    Returns:
        List of `Finding`s about each set, and about images that two sets share.
    """
    names = np.asarray(splits)
    bytes_groups = _groups(len(records), *same_bytes(decoded))
    similar_groups = _groups(len(records), *similar_pairs(decoded))
    findings = []
    for name in dict.fromkeys(names.tolist()):
        within = names == name
        findings += [
            _finding("identical_images", name, _parts(bytes_groups, within), records=records, splits=names),
            _finding(
                "similar_images",
                name,
                _parts(similar_groups, within, bytes_groups),
                records=records,
                splits=names,
            ),
        ]
    shared = [group for group in _parts(similar_groups) if len(set(names[group])) > 1]
    where = " and ".join(dict.fromkeys(names.tolist()))
    findings.append(_finding("shared_images", where, shared, records=records, splits=names))
    return [finding for finding in findings if finding]


TEXTS = {
    "identical_images": (
        "warning",
        "Image files have the same bytes as another one of the set",
        "They count twice in training, and their annotations may contradict each other. Keep one of each.",
    ),
    "similar_images": (
        "note",
        "Images look the same as another one of the set",
        "These are copies in another size or quality, or frames of one scene. Keep one of each, and keep all "
        "of them in the same split.",
    ),
    "shared_images": (
        "warning",
        "Images of one split are also in the other, as the same or nearly the same photograph",
        "The validation score is too high, because the model was trained on these images. Remove them from "
        "one split.",
    ),
}


def same_bytes(decoded: DecodedImages) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of images with equal file bytes, two arrays `[M]`: the first image and each other one."""
    rows = np.flatnonzero(decoded.readable)
    return _pairs_of_equal(decoded.digests[rows], rows)


def similar_pairs(decoded: DecodedImages) -> np.ndarray:
    """Returns pairs of images with the same bytes or a similar look, `[2, M]` int64."""
    i, j = same_bytes(decoded)
    is_copy = np.zeros(len(decoded.hashes), bool)
    is_copy[j] = True
    rows = np.flatnonzero(decoded.readable & ~is_copy & (decoded.contrasts >= MIN_CONTRAST))
    pairs = [np.stack([i, j])]
    for first, second in _candidates(decoded.hashes, rows):
        same = _correlation(decoded.thumbnails, first, second) >= MIN_CORRELATION
        pairs.append(np.stack([first[same], second[same]]))
    return np.concatenate(pairs, axis=1)


def _pairs_of_equal(keys, rows):
    """Returns pairs of `rows` with equal keys, two arrays: the first row of each key, and each other one."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    is_repeated = first[inverse] != np.arange(len(keys))
    return rows[first[inverse]][is_repeated], rows[is_repeated]


def _candidates(hashes, rows):
    """Yields pairs of rows whose hashes differ in at most `MAX_BITS` bits, in several parts.

    Of rows with equal hashes, only the first one is compared with other hashes.
    """
    first, others = _pairs_of_equal(hashes[rows], rows)
    for start in range(0, len(first), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        yield first[part], others[part]
    rows = rows[~np.isin(rows, others)]
    bits = np.unpackbits(hashes[rows].view("uint8").reshape(-1, 8), axis=1)  # [N, 64]
    for start in range(BANDS):
        # A band has every sixth bit, because neighboring bits of a photograph are often equal.
        band = np.packbits(bits[:, start::BANDS], axis=1).view("uint16")[:, 0]
        order = np.argsort(band, kind="stable")
        ordered = hashes[rows[order]]
        for first, second in _pairs_in_runs(band[order]):
            near = _num_bits(ordered[first] ^ ordered[second]) <= MAX_BITS
            if near.any():
                yield rows[order[first[near]]], rows[order[second[near]]]


def _pairs_in_runs(values):
    """Yields index pairs of equal values of a sorted array, about `PAIRS_AT_ONCE` at once."""
    first, step, waiting, size = np.arange(len(values)), 1, [], 0
    while True:
        first = first[first + step < len(values)]
        first = first[values[first] == values[first + step]]
        if len(first):
            waiting.append((first, first + step))
            size += len(first)
        if waiting and (size >= PAIRS_AT_ONCE or not len(first)):
            yield tuple(np.concatenate(part) for part in zip(*waiting, strict=True))
            waiting, size = [], 0
        if not len(first):
            return
        step += 1


def _num_bits(values):
    """Returns the number of set bits of uint64 values. It adds pairs of bits, then fours, then bytes."""
    values = values - (values >> np.uint64(1) & np.uint64(0x5555555555555555))
    fours = np.uint64(0x3333333333333333)
    values = (values & fours) + (values >> np.uint64(2) & fours)
    values = values + (values >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return values * np.uint64(0x0101010101010101) >> np.uint64(56)


def _correlation(thumbnails, first, second):
    """Returns the correlation of the colors of pairs of thumbnails, `[M]`.

    Args:
        thumbnails: `[N, S, S, 3]` uint8.
        first, second: `[M]`, indices of the pairs.
    """
    parts = []
    for start in range(0, len(first), THUMBNAILS_AT_ONCE):
        part = slice(start, start + THUMBNAILS_AT_ONCE)
        a, b = (thumbnails[each[part]].astype("float32") for each in (first, second))
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        norms = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        parts.append((a * b).sum(axis=1) / np.maximum(norms, 1e-6))
    return np.concatenate(parts) if parts else np.zeros(0)


def _groups(count, i, j):
    """Returns the group of each of `count` images, `[N]` int64, if all pairs `(i, j)` are joined."""
    parents = np.arange(count)

    def root(index):
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        a, b = root(a), root(b)
        parents[max(a, b)] = min(a, b)
    return np.array([root(index) for index in range(count)], "int64")


def _parts(groups, within=None, finer=None):
    """Returns the groups of two or more images as a list of index arrays.

    Args:
        groups: `[N]`, group of each image.
        within: `[N]` bool, the images to use. Defaults to None: all.
        finer: `[N]`, groups of which only the first image is used. Defaults to None.
    """
    rows = np.arange(len(groups)) if within is None else np.flatnonzero(within)
    if finer is not None and len(rows):
        rows = rows[np.unique(finer[rows], return_index=True)[1]]
    rows = rows[np.argsort(groups[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(groups[rows])) + 1
    return [part for part in np.split(rows, cuts) if len(part) > 1]


def _finding(kind, where, groups, *, records, splits):
    if not groups:
        return None
    severity, title, advice = TEXTS[kind]
    examples = []
    for group in groups[:MAX_EXAMPLES]:
        first = group[0]
        others = [each for each in group[1:] if kind != "shared_images" or splits[each] != splits[first]]
        names = ", ".join(_name(each, kind, records=records, splits=splits) for each in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        drawn = tuple((records[each], None) for each in (first, others[0]))
        text = f"as {names}{more}"
        examples.append(
            Example(text=text, image=_name(first, kind, records=records, splits=splits), drawn=drawn)
        )
    if kind == "shared_images":
        count = sum(min((splits[group] == name).sum() for name in set(splits[group])) for group in groups)
    else:
        count = sum(len(group) - 1 for group in groups)
    return Finding(
        kind=kind,
        severity=severity,
        title=title,
        count=int(count),
        advice=advice,
        examples=tuple(examples),
        where=where,
    )


def _name(index, kind, *, records, splits):
    name = records[index].path.name
    return f"{name} ({splits[index]})" if kind == "shared_images" else name
