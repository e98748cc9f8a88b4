"""All published weights by name. A lookup reads no file and does not import TensorFlow.

URLs, hashes and scores are copied from the sources. They were not checked by a download.
"""

import difflib

from mask_rcnn.model_zoo.entries import detectron2, imagenet, matterport, torchvision
from mask_rcnn.model_zoo.entries.entry import Entry

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for source in (torchvision, detectron2, matterport, imagenet)
    for entry in source.ENTRIES
}


def find(name: str) -> Entry:
    """Returns the `Entry` with the given name. Raises a ValueError if there is none.

    >>> find("torchvision/maskrcnn_resnet50_fpn").mask_ap
    34.6
    """
    if name not in ENTRIES:
        raise ValueError(
            f"Expected the name of published weights, as in 'torchvision/maskrcnn_resnet50_fpn'. "
            f"Received: {name!r}. {did_you_mean(name)}See `mask-rcnn models list`."
        )
    return ENTRIES[name]


def did_you_mean(name: str) -> str:
    """Returns a sentence with the most similar names and a trailing space, or "" if no name is similar."""
    by_model = {entry.partition("/")[2]: entry for entry in ENTRIES}  # without the name of the source
    similar = difflib.get_close_matches(name, ENTRIES, n=3) or [
        by_model[model] for model in difflib.get_close_matches(name.rpartition("/")[2], by_model, n=3)
    ]
    return f"Did you mean {' or '.join(map(repr, similar))}? " if similar else ""
