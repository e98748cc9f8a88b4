"""Whether a data set can train a model, and what training ignores: known before the first step."""

import numpy as np

from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.instances import instance_limit_warning
from mask_rcnn.data.keypoints import has_keypoints
from mask_rcnn.data.transforms import input_size

MAX_EXAMPLES = 5  # of each kind in a message


def check_trainable(dataset, config):
    """Raises a ValueError unless every head can learn from a data set, or be evaluated on it.

    The error has a line for each kind of problem, with a count, examples and what to do.

    Args:
        dataset: a `Dataset`.
        config: a `Config`. The fraction `data.max_bad_images` of the images may have objects without a mask.
    """
    problems = _annotation_problems(dataset)
    if config.mask_head is not None:
        problems += _mask_problems(dataset, config.data.max_bad_images)
    if config.keypoint_head is not None:
        problems += keypoint_problems(dataset, config.keypoint_head.names)
    if problems:
        listing = "\n  ".join(problems)
        raise ValueError(
            f"Expected data that every head of the model can learn from. Received: {dataset.name}, with\n"
            f"  {listing}"
        )


def training_warnings(dataset, config):
    """Returns a sentence for each kind of annotation that training ignores or cannot make much of.

    Args:
        dataset: a `Dataset` that is trainable.
        config: a `Config`.
    """
    warnings = [
        instance_limit_warning(dataset, config.input.max_instances),
        check_bit_depth(dataset, config.input.bit_depth),
    ]
    without_mask = _without_mask(dataset) if config.mask_head is not None else []
    if without_mask:
        warnings.append(f"{_counted(without_mask, 'objects without a mask')} are ignored in training.")
    tiny = _tiny_objects(dataset, config.input)
    if tiny:
        warnings.append(
            f"{_counted(tiny, 'objects')} are less than 1 pixel high or wide after resizing, too small to be "
            "learned. Raise `input.train_short_sides` and `input.long_side`, or cut the images into tiles."
        )
    return [warning for warning in warnings if warning]


def keypoint_problems(dataset, names):
    """Returns a line for each reason why a data set cannot train a keypoint head.

    Args:
        dataset: a `Dataset`.
        names: names of the model's keypoints, J.
    """
    advice = "set `keypoint_head.names` and `flip_pairs` to those of the data, or `keypoint_head: null`"
    found = [pair for pair in _objects(dataset) if has_keypoints(pair[1])]
    if not found:
        return [f"no object with keypoints, where {len(names)} are expected ({', '.join(names)}): {advice}"]
    problems = [
        f"category {category.name!r} with other keypoints ({', '.join(category.keypoints)}): {advice}"
        for category in dataset.categories
        if category.keypoints and category.keypoints != tuple(names)
    ]
    other = [pair for pair in found if len(pair[1].keypoints) != len(names)]
    if other:
        problems.append(f"{_counted(other, f'objects with other than {len(names)} keypoints')}: {advice}")
    return problems


def _annotation_problems(dataset):
    """Problems that only data sets have that no reader has checked."""
    annotations = [(image, each) for image in dataset.images for each in image.annotations]
    boxes = np.array([each.box for _, each in annotations], float).reshape(-1, 4)
    usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    empty = [pair for pair, is_usable in zip(annotations, usable, strict=True) if not is_usable]
    unknown = [pair for pair in annotations if not 1 <= pair[1].class_id <= dataset.num_classes]
    problems = []
    if empty:
        problems.append(f"{_counted(empty, 'boxes without an area')}: correct or remove them")
    if unknown:
        kind = f"class ids outside of 1 to {dataset.num_classes}"
        problems.append(f"{_counted(unknown, kind)}: correct them, or add categories")
    return problems


def _mask_problems(dataset, max_bad_images):
    without = _without_mask(dataset)
    num_images = len({image.id for image, _ in without})
    if num_images <= max_bad_images * len(dataset):
        return []
    return [
        f"{_counted(without, 'objects without a mask')} in {num_images} of {len(dataset)} images: annotate "
        "them, train boxes only with `mask_head: null`, or ignore more of them with `data.max_bad_images`"
    ]


def _objects(dataset):
    return [(image, each) for image in dataset.images for each in image.annotations if not each.crowd]


def _without_mask(dataset):
    return [pair for pair in _objects(dataset) if not pair[1].segmentation]


def _tiny_objects(dataset, config):
    """Returns the objects that are less than a pixel high or wide at the smallest training scale."""
    objects = _objects(dataset)
    boxes = np.array([each.box for _, each in objects], float).reshape(-1, 4)
    originals = np.array([(image.height, image.width) for image, _ in objects], float).reshape(-1, 2)
    shapes, which = np.unique(originals, axis=0, return_inverse=True)
    short_side = min(config.train_short_sides)
    scales = [np.divide(input_size(size, short_side, config), size) for size in shapes.tolist()]
    sides = (boxes[:, 2:] - boxes[:, :2]) * np.reshape(scales, (-1, 2))[which]
    return [pair for pair, is_tiny in zip(objects, (sides < 1).any(axis=1), strict=True) if is_tiny]


def _counted(pairs, kind):
    """Returns such as "2 objects (annotation 3 of image 1, annotation 7 of image 2)"."""
    examples = [
        f"annotation {annotation.id} of image {image.id}" for image, annotation in pairs[:MAX_EXAMPLES]
    ]
    more = ", ..." if len(pairs) > MAX_EXAMPLES else ""
    return f"{len(pairs)} {kind} ({', '.join(examples)}{more})"
