"""Which annotations of an image are trained on, and which are ignored."""

import numpy as np

from mask_rcnn.data.dataset_arrays import arrays_of


def select_instances(annotations, max_instances, needs_mask=False):
    """Splits the annotations of an image into objects and ignored regions.

    Args:
        annotations: `Annotation`s of one image.
        max_instances: largest number of objects.
        needs_mask: whether an object without a mask is ignored. Defaults to False.

    Returns:
        Two lists, largest area first: the `max_instances` largest objects; and all regions that are neither
        positives nor negatives: the other objects and the crowd regions.
    """
    objects, others = [], []
    for annotation in sorted(annotations, key=lambda annotation: -annotation.area):
        is_object = not annotation.crowd and (annotation.segmentation or not needs_mask)
        (objects if is_object else others).append(annotation)
    return objects[:max_instances], [*objects[max_instances:], *others]


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
