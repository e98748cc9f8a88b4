"""How many annotations of an image are trained on, and how many are ignored."""

import numpy as np

from mask_rcnn.data.dataset_arrays import arrays_of

JOINED_DRAWS = 10_000  # random groups of images that stand for those of a run


def num_regions(dataset, max_instances):
    """Returns how many rows hold the objects and the ignored regions of every image, T."""
    return max([max_instances, *(len(image.annotations) for image in dataset.images)])


def count_ignored_objects(dataset, max_instances):
    """Counts the objects that training ignores because their images have more than `max_instances`.

    Args:
        dataset: a `Dataset`.
        max_instances: as `input.max_instances`.

    Returns:
        Dict of
        objects: ignored objects;
        images: images that have ignored objects;
        most_objects: largest number of objects in an image.
    """
    arrays = arrays_of(dataset)
    counts = np.bincount(arrays.images[~arrays.crowd], minlength=len(dataset))
    ignored = np.maximum(counts - max_instances, 0)
    return {
        "objects": int(ignored.sum()),
        "images": int(np.count_nonzero(ignored)),
        "most_objects": int(counts.max(initial=0)),
    }


def instance_limit_warning(dataset, max_instances):
    """Returns a sentence about the objects that training ignores; None if it ignores none."""
    ignored = count_ignored_objects(dataset, max_instances)
    if not ignored["objects"]:
        return None
    return (
        f"{ignored['objects']} objects of {ignored['images']} images are ignored in training. "
        f"`input.max_instances` is {max_instances}; an image has up to {ignored['most_objects']} objects. "
        "The largest objects of an image are kept. "
        f"Set `input.max_instances` to {ignored['most_objects']} to train on all of them."
    )


def joined_limit_warning(dataset, max_instances, num_joined):
    """Returns a sentence about objects that training may ignore as transforms join images; None if none.

    Args:
        dataset: a `Dataset`.
        max_instances: as `input.max_instances`.
        num_joined: images that become one, 1 without such transforms.
    """
    if num_joined == 1:
        return None
    arrays = arrays_of(dataset)
    counts = np.bincount(arrays.images[~arrays.crowd], minlength=len(dataset))
    drawn = np.random.default_rng(0).integers(len(dataset), size=(JOINED_DRAWS, num_joined))
    share = float(np.mean(counts[drawn].sum(axis=1) > max_instances))
    if not share:
        return None
    return (
        f"`input.transforms` join {num_joined} images. In up to {share:.1%} of the samples "
        f"these have more than `input.max_instances` = {max_instances} objects. The largest ones are kept, "
        "the others are ignored in training. Raise `input.max_instances` to train on more of them."
    )
