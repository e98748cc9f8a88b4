"""Keypoints of annotations: checks COCO's flat lists and converts them to arrays.

COCO's coordinates are whole numbers, the indices of a pixel. The pixel (y, x) covers the square from (y, x)
to (y + 1, x + 1), so its center is half a pixel further.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import UNCLEAR, are_numbers, number
from mask_rcnn.data.records import Annotation
from mask_rcnn.structures import Category

HALF_PIXEL = 0.5


def read_category(entry: Mapping[str, Any]) -> Category:
    """Returns the `Category` of an entry of `categories`, with its keypoints and skeleton if it has any.

    Args:
        entry: `{"id": int, "name": str}`, optionally with `keypoints` and `skeleton`.

    Raises:
        ValueError: `keypoints` or `skeleton` are invalid.
    """
    names, skeleton = entry.get("keypoints") or (), entry.get("skeleton") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`keypoints` of a category must be a list of names. "
            f"Received: category {entry['id']} with keypoints={shown(names)}. Correct the category."
        )
    if not isinstance(skeleton, list | tuple) or not all(_is_bone(pair, len(names)) for pair in skeleton):
        raise ValueError(
            f"`skeleton` of a category must be pairs of keypoint numbers, 1 to {len(names)}. "
            f"Received: category {entry['id']} with skeleton={shown(skeleton)}. Correct the category."
        )
    return Category(entry["id"], entry["name"], tuple(names), tuple((start, end) for start, end in skeleton))


def _is_bone(pair, num_keypoints):
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(number, int) and 1 <= number <= num_keypoints for number in pair)
    )


def read_keypoints(
    value: object, category: Category, *, where: str, findings: Findings
) -> list[float] | None:
    """Returns the checked and repaired keypoints of an annotation, or None if it has none.

    Args:
        value: `keypoints` of an annotation.
        category: Its `Category`.
        where: Name of the annotation, for messages.
        findings: `Findings`, to which repairs are added.

    Returns:
        A flat list x, y, visibility, with (0, 0, 0) for keypoints that are null or missing at the end.

    Raises:
        ValueError: The list does not hold three finite numbers for each keypoint of the category.
    """
    if not value:
        return None
    flat, count = value, len(category.keypoints)
    if isinstance(flat, list) and all(isinstance(point, list) and len(point) == 3 for point in flat):
        findings.repair("keypoints were written as lists of three: they were made flat", where)
        flat = [number for point in flat for number in point]
    if isinstance(flat, list) and len(flat) % 3 == 0 and not are_numbers(flat):
        flat = _repaired(flat, where, findings)
    too_long = count and isinstance(flat, list) and len(flat) > 3 * count
    if not isinstance(flat, list) or len(flat) % 3 or not are_numbers(flat) or too_long:
        expected = f"the {count} keypoints of {category.name!r}" if count else "each keypoint"
        length = f"{len(flat)} values, " if isinstance(flat, list) else ""
        raise ValueError(
            f"`keypoints` must be a flat list x, y, visibility of {expected}. "
            f"Received: {where} with {length}{shown(value)}. "
            "Use 0, 0, 0 for keypoints that are not labeled."
        )
    if not set(flat[2::3]) <= {0, 1, 2}:
        raise ValueError(
            "The visibility of a keypoint is 0 (unknown), 1 (hidden) or 2 (visible). "
            f"Received: {where} with visibilities {shown(sorted(set(flat[2::3])))}. Correct them."
        )
    if count and len(flat) < 3 * count:
        findings.repair("`keypoints` was too short: the missing ones at its end are unknown", where)
        flat = flat + [0] * (3 * count - len(flat))
    return [int(x) if i % 3 == 2 else x for i, x in enumerate(flat)]


def _repaired(flat, where, findings):
    """Returns keypoints with text converted and null as (0, 0, 0), or unchanged if one is unclear."""
    values = list(map(number, flat))
    if any(value is UNCLEAR for value in values):
        return flat
    points = [values[i : i + 3] for i in range(0, len(values), 3)]
    if None in values:
        findings.repair("a keypoint had a null: it is unknown, 0, 0, 0", where)
    if any(isinstance(value, str) for value in flat):
        findings.repair("keypoints were text: they were read as numbers", where)
    return [value for point in points for value in ((0, 0, 0) if None in point else point)]


def has_keypoints(annotation: Annotation) -> bool:
    """Returns whether an annotation is an object (not a crowd region) with a labeled keypoint."""
    return not annotation.crowd and any(visibility for *_, visibility in annotation.keypoints or ())


def mirrored_order(names: Sequence[str], flip_pairs: Sequence[str]) -> np.ndarray:
    """Returns the index of the keypoint that takes the place of each one in a mirror image, `[J]` int.

    Args:
        names: Names of the J keypoints.
        flip_pairs: Pairs "left:right" of names, as in `KeypointHeadConfig.flip_pairs`.

    >>> mirrored_order(("nose", "left_eye", "right_eye"), ("left_eye:right_eye",)).tolist()
    [0, 2, 1]
    """
    partner = dict(pair.split(":") for pair in flip_pairs)
    partner |= {right: left for left, right in partner.items()}
    return np.array([names.index(partner.get(name, name)) for name in names], int)


def keypoint_array(annotations: Sequence[Annotation], num_keypoints: int, half_pixel: bool) -> np.ndarray:
    """Returns the keypoints of objects, `[N, J, 3]` float32 (y, x, visibility); zeros if an object has none.

    Args:
        annotations: N `Annotation`s.
        num_keypoints: J.
        half_pixel: Whether COCO's numbers are pixel indices, so that half a pixel is added to get the center.
            False if they are already coordinates.
    """
    missing = np.zeros((num_keypoints, 3))
    rows: list[Any] = [missing if each.keypoints is None else each.keypoints for each in annotations]
    points = np.array(rows, "float32").reshape(-1, num_keypoints, 3)[..., [1, 0, 2]]
    return points + np.array((HALF_PIXEL, HALF_PIXEL, 0), "float32") if half_pixel else points
