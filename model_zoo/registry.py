"""All published weights by name. Looking one up reads no file and imports no TensorFlow.

URLs, hashes and figures are as their sources publish them: read there, not tried by a download.
"""

import difflib

from mask_rcnn.model_zoo.entries import detectron2, imagenet, matterport, torchvision

ENTRIES = {
    entry.name: entry
    for source in (torchvision, detectron2, matterport, imagenet)
    for entry in source.ENTRIES
}


def find(name):
    """Returns the `Entry` called `name`.

    >>> find("torchvision/maskrcnn_resnet50_fpn").mask_ap
    34.6
    """
    if name not in ENTRIES:
        raise ValueError(
            f"Expected the name of published weights, as in 'torchvision/maskrcnn_resnet50_fpn'. "
            f"Received: {name!r}. {did_you_mean(name)}See `mask-rcnn models list`."
        )
    return ENTRIES[name]


def did_you_mean(name):
    """Returns a sentence with the nearest names, and a space behind it; nothing where none is near."""
    own_names = {entry.partition("/")[2]: entry for entry in ENTRIES}
    found = difflib.get_close_matches(name, ENTRIES, n=3) or [
        own_names[near] for near in difflib.get_close_matches(name.rpartition("/")[2], own_names, n=3)
    ]
    return f"Did you mean {' or '.join(map(repr, found))}? " if found else ""
