"""Selects the entries of a results file that are scored on federated annotations, by the rules of LVIS.

Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019.
"""

from dataclasses import dataclass

import numpy as np

MAX_DETECTIONS = 300  # LVIS's limit per image, over all classes


@dataclass(frozen=True, eq=False)
class FederatedEntries:
    """Which of the N entries of a results file are scored.

    Args:
        is_counted: `[N]` bool, entries among the best of their image whose class is labeled in the image.
        is_excused: `[N]` bool, entries of a class that is not labeled exhaustively in the image. They are not
            false positives if they match nothing.
        num_unsearched: Number of best entries whose class is not labeled in their image.
        num_limited_images: Number of images with more entries than are scored.
    """

    is_counted: np.ndarray
    is_excused: np.ndarray
    num_unsearched: int
    num_limited_images: int


def federated_entries(entries, content, max_detections):
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
    searched = np.concatenate([_keys(table.images, table.class_ids, ids), _keys(*federation.negative.T, ids)])
    ranks = _ranks(images, np.array([entry["score"] for entry in entries], "float64"))
    is_best, is_searched = ranks < max_detections, np.isin(keys, searched)
    return FederatedEntries(
        is_counted=is_best & is_searched,
        is_excused=np.isin(keys, _keys(*federation.not_exhaustive.T, ids)),
        num_unsearched=int((is_best & ~is_searched).sum()),
        num_limited_images=len(np.unique(images[~is_best])),
    )


def _keys(images, class_ids, ids):
    """Returns a unique number for each pair of image and class; `ids` are the sorted ids of all classes."""
    known = np.isin(class_ids, ids)
    return images[known].astype("int64") * len(ids) + np.searchsorted(ids, class_ids[known])


def _ranks(images, scores):
    """Returns how many entries of the same image are better, `[N]`; of equal scores the first is better."""
    order = np.lexsort((-scores, images))  # stable
    starts = np.searchsorted(images[order], images[order])
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order)) - starts
    return ranks
