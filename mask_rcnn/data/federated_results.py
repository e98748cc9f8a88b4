"""Which entries of a results file count where images were not searched for all classes: the rules of LVIS.

Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019.
"""

from dataclasses import dataclass

import numpy as np

MAX_DETECTIONS = 300  # LVIS's, of all classes in an image


@dataclass(frozen=True, eq=False)
class FederatedEntries:
    """Which of N entries of a results file count.

    Args:
        is_counted: `[N]` bool, entries among the best of their image, of a class that it was searched for.
        is_excused: `[N]` bool, entries of a class of which objects of the image may not be labeled: they do
            not count as wrong if they match nothing.
        num_unsearched: How many of the best entries are of a class that their image was not searched for.
        num_limited_images: In how many images there are more entries than count.
    """

    is_counted: np.ndarray
    is_excused: np.ndarray
    num_unsearched: int
    num_limited_images: int


def federated_entries(entries, content, max_detections):
    """Applies LVIS's rules to the entries of a results file.

    Args:
        entries: Checked entries.
        content: `CocoContent` with a `Federation`.
        max_detections: How many entries of all classes count in an image, the best first.

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
    """Returns a number for each pair of an image and a class; `ids` are the sorted ids of all classes."""
    known = np.isin(class_ids, ids)
    return images[known].astype("int64") * len(ids) + np.searchsorted(ids, class_ids[known])


def _ranks(images, scores):
    """Returns how many entries of the same image are better, `[N]`; of equal ones the first is better."""
    order = np.lexsort((-scores, images))  # stable
    starts = np.searchsorted(images[order], images[order])
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order)) - starts
    return ranks
