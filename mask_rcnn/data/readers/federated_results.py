"""Selects the entries of a results file that are scored on federated annotations, by the rules of LVIS.

Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mask_rcnn.data.readers.coco_content import CocoContent

MAX_DETECTIONS = 300  # LVIS's limit per image, over all classes


@dataclass(frozen=True, eq=False, kw_only=True)
class FederatedEntries:
    """Which of the N entries of a results file are scored.

    Args:
        is_counted: `[N]` bool, entries among the best of their image whose class is labeled in the image.
        is_ignored: `[N]` bool, entries of a class that is not labeled exhaustively in the image. They are not
            false positives if they match nothing.
        num_unsearched: Number of the best entries of their image whose class is not labeled in it.
        num_limited_images: Number of images with more entries than are scored.
    """

    is_counted: np.ndarray
    is_ignored: np.ndarray
    num_unsearched: int
    num_limited_images: int


def federated_entries(
    entries: Sequence[Mapping[str, Any]], content: "CocoContent", max_detections: int
) -> FederatedEntries:
    """Applies LVIS's rules to the entries of a results file.

    Args:
        entries: List of checked entries.
        content: `CocoContent` with a `Federation`.
        max_detections: Maximum number of entries per image over all classes. The best are scored.

    Returns:
        `FederatedEntries`.
    """
    index = {image["id"]: number for number, image in enumerate(content.images)}
    ids = np.sort([category.id for category in content.categories])
    images = np.array([index[entry["image_id"]] for entry in entries], "int64")
    keys = _keys(images, np.array([entry["category_id"] for entry in entries], "int64"), ids)
    table, federation = content.annotations.table, content.federation
    if federation is None:
        raise ValueError(f"Expected federated annotations. Received: {content.name}. Score all entries.")
    searched = np.concatenate(
        [_keys(table.images, table.class_ids, ids), _keys_of_pairs(federation.negative, ids)]
    )
    ranks = _ranks(images, np.array([entry["score"] for entry in entries], "float64"))
    is_best, is_searched = ranks < max_detections, np.isin(keys, searched)
    return FederatedEntries(
        is_counted=is_best & is_searched,
        is_ignored=np.isin(keys, _keys_of_pairs(federation.not_exhaustive, ids)),
        num_unsearched=int((is_best & ~is_searched).sum()),
        num_limited_images=len(np.unique(images[~is_best])),
    )


def _keys(images, class_ids, ids):
    """Returns a unique number for each pair of image and class; `ids` are the sorted ids of all classes."""
    known = np.isin(class_ids, ids)
    return images[known].astype("int64") * len(ids) + np.searchsorted(ids, class_ids[known])


def _keys_of_pairs(pairs, ids):
    """Returns `_keys` of pairs `[P, 2]`, (index of the image, id of the class)."""
    return _keys(pairs[:, 0], pairs[:, 1], ids)


def _ranks(images, scores):
    """Returns how many entries of the same image are better, `[N]`; of equal scores the first is better."""
    order = np.lexsort((-scores, images))  # stable
    starts = np.searchsorted(images[order], images[order])
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order)) - starts
    return ranks
