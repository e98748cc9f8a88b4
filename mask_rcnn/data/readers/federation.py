"""Federated annotations, as in LVIS: not all classes are labeled in each image.

Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019.
The labeled classes of an image are those of its objects and those of `neg_category_ids`, of which the image
has no object. Classes in `not_exhaustive_category_ids` are labeled only in part. The `frequency` of a class
is "r" (rare, in 1 to 10 images of the training set), "c" (common, up to 100) or "f" (frequent).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import identity, whole_number

NEGATIVE, NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"
UNLABELED = (  # warning for training, where unlabeled objects become background
    "images of LVIS are not labeled for all classes: training treats unlabeled objects as background"
)
FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True, eq=False)
class Federation:
    """Which classes are labeled in which images.

    Args:
        negative: `[P, 2]` int64, pairs (image index, id of a category without an object in the image).
        not_exhaustive: `[Q, 2]` int64, pairs (image index, id of a category with possibly unlabeled objects).
        frequencies: {category id: one of `FREQUENCIES`}, for categories that have one.
    """

    negative: np.ndarray
    not_exhaustive: np.ndarray
    frequencies: dict[int, str]

    def renumbered(self, new_index: np.ndarray) -> "Federation":
        """Returns a copy with other image indices.

        Args:
            new_index: `[I]` int, new index of each image, or -1 if it is left out.
        """
        return Federation(
            _renumbered(self.negative, new_index),
            _renumbered(self.not_exhaustive, new_index),
            self.frequencies,
        )

    def fields_of_images(self, num_images: int) -> list[dict[str, list[int]]]:
        """Returns for each of `num_images` images a dict with both lists of category ids, as in a json."""
        fields = [{NEGATIVE: [], NOT_EXHAUSTIVE: []} for _ in range(num_images)]
        for name, pairs in ((NEGATIVE, self.negative), (NOT_EXHAUSTIVE, self.not_exhaustive)):
            for image, id in pairs.tolist():
                fields[image][name].append(id)
        return fields


def _renumbered(pairs, new_index):
    """Returns pairs `[P, 2]` with other image indices, without those of images that are left out."""
    images = new_index[pairs[:, 0]]
    return np.column_stack([images, pairs[:, 1]])[images >= 0]


def read_federation(
    content: Mapping[str, Any], images: Iterable[int | str], findings: Findings
) -> Federation | None:
    """Returns the `Federation` of a json, or None if no image has `neg_category_ids`.

    Args:
        content: Content of a json with the lists `images` and `categories`.
        images: {id: entry} from `read_images`.
        findings: `Findings`, to which repairs and refusals are added.
    """
    entries = [entry for entry in content["images"] if isinstance(entry, dict)]
    if not any(NEGATIVE in entry for entry in entries):
        return None
    categories = [entry for entry in content["categories"] if isinstance(entry, dict)]
    known = {whole_number(category.get("id")) for category in categories}
    index: dict[object, int] = {id: number for number, id in enumerate(images)}
    pairs = {NEGATIVE: [], NOT_EXHAUSTIVE: []}
    for entry in entries:
        number = index.get(identity(entry.get("id")))
        for field, of_images in pairs.items() if number is not None else ():
            ids = _category_ids(entry, field, known=known, findings=findings)
            of_images += [(number, id) for id in ids]
    return Federation(
        negative=np.array(pairs[NEGATIVE], "int64").reshape(-1, 2),
        not_exhaustive=np.array(pairs[NOT_EXHAUSTIVE], "int64").reshape(-1, 2),
        frequencies=_frequencies(categories, findings),
    )


def _category_ids(entry, field, *, known, findings):
    """Returns the ids in a list of an image that are ids of declared categories."""
    where = f"image {shown(entry['id'])}"
    values = entry.get(field)
    if values is None:
        findings.repair(f"an image without `{field}`: the list counts as empty", where)
        return []
    ids = [whole_number(value) for value in values] if isinstance(values, list) else [None]
    if not all(type(id) is int for id in ids):
        findings.refuse(
            f"`{field}` of an image must be a list of category ids", f"{where} with {shown(values)}"
        )
        return []
    for id in ids:
        if id not in known:
            findings.repair(
                f"category ids that the file does not declare were left out of `{field}`", f"{where}: {id}"
            )
    return [id for id in ids if id in known]


def _frequencies(categories, findings):
    frequencies = {}
    for category in categories:
        letter, id = category.get("frequency"), whole_number(category.get("id"))
        if letter in tuple(FREQUENCIES):
            frequencies[id] = letter
        elif letter is not None:
            findings.refuse(
                f"`frequency` of a category must be one of {tuple(FREQUENCIES)}",
                f"category {shown(category.get('id'))} with frequency={shown(letter)}",
            )
    return frequencies
