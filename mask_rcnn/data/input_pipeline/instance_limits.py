"""Limits on the number of objects per image: how many are trained on and how many are ignored."""

import numpy as np

from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.records import Dataset

JOINED_DRAWS = 10_000  # number of random groups of images, a sample of the groups of a run


def num_regions(dataset: Dataset, max_instances: int) -> int:
    """Returns the number of rows for the objects and ignored regions of any image of a data set.

    Args:
        dataset: `Dataset`.
        max_instances: Maximum number of objects per image, as `input.max_instances`. The minimum of the
            result.
    """
    return max([max_instances, *(len(image.annotations) for image in dataset.images)])


def count_ignored_objects(dataset: Dataset, max_instances: int) -> dict[str, int]:
    """Counts the objects that training ignores because their images have more than `max_instances`.

    Args:
        dataset: `Dataset`.
        max_instances: Maximum number of objects per image, as `input.max_instances`.

    Returns:
        Dict of ints:
        objects: Number of ignored objects.
        images: Number of images with ignored objects.
        most_objects: Largest number of objects in an image.
    """
    arrays = arrays_of(dataset)
    counts = np.bincount(arrays.images[~arrays.crowd], minlength=len(dataset))
    ignored = np.maximum(counts - max_instances, 0)
    return {
        "objects": int(ignored.sum()),
        "images": int(np.count_nonzero(ignored)),
        "most_objects": int(counts.max(initial=0)),
    }


def instance_limit_warning(dataset: Dataset, max_instances: int) -> str | None:
    """Returns a warning about the objects that training ignores, or None if it ignores none."""
    ignored = count_ignored_objects(dataset, max_instances)
    if not ignored["objects"]:
        return None
    return (
        f"{ignored['objects']} objects of {ignored['images']} images are ignored in training. "
        f"`input.max_instances` is {max_instances}; an image has up to {ignored['most_objects']} objects. "
        "The largest objects of an image are kept. "
        f"Set `input.max_instances` to {ignored['most_objects']} to train on all of them."
    )


def joined_limit_warning(dataset: Dataset, max_instances: int, num_joined: int) -> str | None:
    """Returns a warning about objects that may be ignored after transforms join images, or None.

    Args:
        dataset: `Dataset`.
        max_instances: Maximum number of objects per image, as `input.max_instances`.
        num_joined: Number of images that are joined to one. 1 without such transforms.
    """
    if num_joined == 1:
        return None
    arrays = arrays_of(dataset)
    counts = np.bincount(arrays.images[~arrays.crowd], minlength=len(dataset))
    drawn = np.random.default_rng(0).integers(len(dataset), size=(JOINED_DRAWS, num_joined))
    fraction = float(np.mean(counts[drawn].sum(axis=1) > max_instances))
    if not fraction:
        return None
    return (
        f"`input.transforms` join {num_joined} images. In up to {fraction:.1%} of the samples "
        f"these have more than `input.max_instances` = {max_instances} objects. The largest ones are kept, "
        "the others are ignored in training. Raise `input.max_instances` to train on more of them."
    )
