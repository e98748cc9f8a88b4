"""Federated annotations: images that were not searched for all classes, as LVIS has them.

Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019.
An image of LVIS was searched for the classes of its objects and for those of `neg_category_ids`, of which it
has no object. Of the classes of `not_exhaustive_category_ids` not all objects are labeled. The `frequency` of
a class is "r" (rare, in 1 to 10 images of the training set), "c" (common, up to 100) or "f" (frequent).
"""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.data.fields import identity, whole_number
from mask_rcnn.data.findings import shown

NEGATIVE, NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"
UNLABELED = (  # said wherever unlabeled objects become background
    "images of LVIS are not labeled for all classes: "
    "training takes objects that are not labeled as background"
)
FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True, eq=False)
class Federation:
    """Which classes the images of a json were searched for.

    Args:
        negative: `[P, 2]` int64, (index of an image, id of a category of which it has no object).
        not_exhaustive: `[Q, 2]` int64, (index of an image, id of a category of which objects may lack).
        frequencies: {category id: one of `FREQUENCIES`}, of the categories that have one.
    """

    negative: np.ndarray
    not_exhaustive: np.ndarray
    frequencies: dict

    def renumbered(self, new_index):
        """Returns a copy for other numbers of the images.

        Args:
            new_index: `[I]` int, index of each image, or -1 if it is left out.
        """
        pairs = []
        for part in (self.negative, self.not_exhaustive):
            images = new_index[part[:, 0]]
            pairs.append(np.column_stack([images, part[:, 1]])[images >= 0])
        return Federation(*pairs, self.frequencies)

    def fields_of_images(self, num_images):
        """Returns a dict with both lists of category ids for each image, as a json has them."""
        fields = [{NEGATIVE: [], NOT_EXHAUSTIVE: []} for _ in range(num_images)]
        for name, pairs in ((NEGATIVE, self.negative), (NOT_EXHAUSTIVE, self.not_exhaustive)):
            for image, id in pairs.tolist():
                fields[image][name].append(id)
        return fields


def read_federation(content, images, findings):
    """Returns the `Federation` of a json, or None if no image has `neg_category_ids`.

    Args:
        content: Content of a json with the lists `images` and `categories`.
        images: {id: entry} of `read_images`.
        findings: `Findings`; repairs and refusals are added.
    """
    entries = [entry for entry in content["images"] if isinstance(entry, dict)]
    if not any(NEGATIVE in entry for entry in entries):
        return None
    categories = [entry for entry in content["categories"] if isinstance(entry, dict)]
    known = {whole_number(category.get("id")) for category in categories}
    index = {id: number for number, id in enumerate(images)}
    pairs = {NEGATIVE: [], NOT_EXHAUSTIVE: []}
    for entry in entries:
        number = index.get(identity(entry.get("id")))
        for field, found in pairs.items() if number is not None else ():
            found += [(number, id) for id in _category_ids(entry, field, known, findings)]
    return Federation(
        *(np.array(found, "int64").reshape(-1, 2) for found in pairs.values()),
        _frequencies(categories, findings),
    )


def _category_ids(entry, field, known, findings):
    """Returns the ids of a list of an image that are those of categories."""
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
    found = {}
    for category in categories:
        letter, id = category.get("frequency"), whole_number(category.get("id"))
        if letter in tuple(FREQUENCIES):
            found[id] = letter
        elif letter is not None:
            findings.refuse(
                f"`frequency` of a category must be one of {tuple(FREQUENCIES)}",
                f"category {shown(category.get('id'))} with frequency={shown(letter)}",
            )
    return found
