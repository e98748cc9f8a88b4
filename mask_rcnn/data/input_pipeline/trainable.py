"""Checks before the first step whether a data set can train a model, and what training will ignore."""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.config import Config, InputConfig
from mask_rcnn.data.augmentation.augment import make_transforms
from mask_rcnn.data.augmentation.joining_transforms import num_others
from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.dataset_arrays import DatasetArrays, arrays_of
from mask_rcnn.data.input_pipeline.ground_truth import make_ground_truths, needs_masks
from mask_rcnn.data.input_pipeline.instance_limits import instance_limit_warning, joined_limit_warning
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.transforms import input_size
from mask_rcnn.ops.anchors import base_anchors

MAX_EXAMPLES = 5  # examples of each kind in a message
MAX_OBJECTS = 100_000  # number of objects that are compared with anchors, spread over the data set
MAX_UNMATCHED = 0.01  # fraction of objects without a matching anchor above which there is a warning


def check_trainable(dataset: Dataset, config: Config) -> None:
    """Raises a ValueError unless every head can be trained and evaluated on a data set.

    The error has a line for each kind of problem, with a count, examples and a fix.

    Args:
        dataset: `Dataset`.
        config: `Config`. At most the fraction `data.max_bad_images` of the images may have objects without a
            mask.
    """
    problems = _annotation_problems(dataset)
    if needs_masks(make_ground_truths(config)):
        problems += _mask_problems(dataset, config.data.max_bad_images)
    if config.keypoint_head is not None:
        problems += keypoint_problems(dataset, config.keypoint_head.names)
    if problems:
        listing = "\n  ".join(problems)
        raise ValueError(
            f"Expected data that every head of the model can learn from. Received: {dataset.name}, with\n"
            f"  {listing}"
        )


def training_warnings(dataset: Dataset, config: Config) -> list[str]:
    """Returns a list of warnings about annotations that training ignores or that are hard to learn.

    Args:
        dataset: `Dataset` that `check_trainable` accepts.
        config: `Config`.
    """
    warnings = [
        instance_limit_warning(dataset, config.input.max_instances),
        joined_limit_warning(
            dataset, config.input.max_instances, 1 + num_others(make_transforms(config.input))
        ),
        check_bit_depth(dataset, config.input.bit_depth, **config.input.pixel_format),
        _anchor_warning(dataset, config),
    ]
    arrays = arrays_of(dataset)
    without_mask = ~arrays.crowd & ~arrays.has_mask
    if needs_masks(make_ground_truths(config)) and without_mask.any():
        counted = _counted(dataset, arrays, without_mask, kind="objects without a mask")
        warnings.append(f"{counted} are ignored in training.")
    tiny = are_tiny(dataset, arrays, config.input)
    if tiny.any():
        warnings.append(
            f"{_counted(dataset, arrays, tiny, kind='objects')} are less than 1 pixel high or wide after "
            "resizing, too small to be learned. Raise `input.train_short_sides` and `input.long_side`, or "
            "cut the images into tiles."
        )
    return [warning for warning in warnings if warning]


def keypoint_problems(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Returns a line for each reason why a data set cannot train a keypoint head.

    Args:
        dataset: `Dataset`.
        names: Names of the J keypoints of the model.
    """
    advice = "set `keypoint_head.names` and `flip_pairs` to those of the data, or `keypoint_head: null`"
    arrays = arrays_of(dataset)
    if not arrays.has_keypoints.any():
        return [f"no object with keypoints, where {len(names)} are expected ({', '.join(names)}): {advice}"]
    problems = [
        f"category {category.name!r} with other keypoints ({', '.join(category.keypoints)}): {advice}"
        for category in dataset.categories
        if category.keypoints and category.keypoints != tuple(names)
    ]
    other = arrays.has_keypoints & (arrays.num_keypoints != len(names))
    if other.any():
        kind = f"objects with other than {len(names)} keypoints"
        problems.append(f"{_counted(dataset, arrays, other, kind=kind)}: {advice}")
    return problems


def _annotation_problems(dataset):
    """Returns the problems of boxes and class ids, which only data sets without a reader can have."""
    arrays = arrays_of(dataset)
    boxes, class_ids = arrays.boxes, arrays.class_ids
    empty = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    unknown = (class_ids < 1) | (class_ids > dataset.num_classes)
    problems = []
    if empty.any():
        counted = _counted(dataset, arrays, empty, kind="boxes without an area")
        problems.append(f"{counted}: correct or remove them")
    if unknown.any():
        counted = _counted(dataset, arrays, unknown, kind=f"class ids outside of 1 to {dataset.num_classes}")
        problems.append(f"{counted}: correct them, or add categories")
    return problems


def _mask_problems(dataset, max_bad_images):
    arrays = arrays_of(dataset)
    without_mask = ~arrays.crowd & ~arrays.has_mask
    num_images = len(np.unique(arrays.images[without_mask]))
    if num_images <= max_bad_images * len(dataset):
        return []
    counted = _counted(dataset, arrays, without_mask, kind="objects without a mask")
    return [
        f"{counted} in {num_images} of {len(dataset)} images: annotate them, train boxes only with "
        "`mask_head: null`, or ignore more of them with `data.max_bad_images`"
    ]


def are_tiny(dataset: Dataset, arrays: DatasetArrays, config: InputConfig) -> np.ndarray:
    """Returns which objects are less than a pixel high or wide at the smallest training scale, `[N]` bool.

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.
        config: `InputConfig`.
    """
    sides = _resized_sides(dataset, arrays, config, short_side=min(config.train_short_sides))
    return ~arrays.crowd & (sides < 1).any(axis=1)


def resized_boxes(
    dataset: Dataset, arrays: DatasetArrays, config: InputConfig, *, short_side: int
) -> np.ndarray:
    """Returns all boxes after resizing to a short side, `[N, 4]` float64 (y1, x1, y2, x2), pixels.

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.
        config: `InputConfig`.
        short_side: Target short side, in pixels.
    """
    sizes, size_of_image = np.unique(dataset.sizes, axis=0, return_inverse=True)
    scales = [np.divide(input_size(size, short_side, config), size) for size in sizes.tolist()]
    box_scales = np.tile(np.reshape(scales, (-1, 2)), 2)[size_of_image.reshape(-1)]
    return arrays.boxes * box_scales[arrays.images]


def _resized_sides(dataset, arrays, config, *, short_side):
    """Returns (height, width) of all boxes after resizing to a short side, `[N, 2]`, pixels."""
    boxes = resized_boxes(dataset, arrays, config, short_side=short_side)
    return boxes[:, 2:] - boxes[:, :2]


def _counted(dataset, arrays, chosen, *, kind):
    """Returns a text such as "2 objects (annotation 3 of image 1, annotation 7 of image 2)".

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.
        chosen: `[N]` bool, the annotations to count.
        kind: Plural noun for them.
    """
    rows = np.flatnonzero(chosen)
    examples = [
        f"annotation {arrays.ids[row]} of image {dataset.images[arrays.images[row]].id}"
        for row in rows[:MAX_EXAMPLES]
    ]
    more = ", ..." if len(rows) > MAX_EXAMPLES else ""
    return f"{len(rows)} {kind} ({', '.join(examples)}{more})"


def _anchor_warning(dataset, config):
    """Returns a warning about objects that match no anchor, or None if there are few.

    The RPN trains the best anchor of each object to predict it. It learns poorly if the best anchor is far
    from the box (Faster R-CNN, section 3.1.2). The IoU of two boxes with the same center is the largest IoU
    over all positions.
    """
    arrays = arrays_of(dataset)
    rows = np.flatnonzero(~arrays.crowd)
    rows = rows[:: -(-len(rows) // MAX_OBJECTS) or 1]
    boxes = _resized_sides(dataset, arrays, config.input, short_side=config.input.short_side)[rows]
    boxes = boxes[(boxes >= 1).all(axis=1)]  # [N, 2]; smaller boxes have their own warning
    anchors = base_anchors(config.anchors.sizes, config.anchors.ratios)
    anchors = anchors[:, 2:] - anchors[:, :2]  # [A, 2]
    common = np.minimum(boxes[:, None], anchors).prod(axis=-1)
    union = boxes.prod(axis=-1)[:, None] + anchors.prod(axis=-1) - common
    is_unmatched = (common / union).max(axis=1, initial=0) < config.rpn.negative_iou
    if is_unmatched.sum() <= MAX_UNMATCHED * len(boxes):
        return None
    height, width = np.median(boxes[is_unmatched], axis=0)
    return (
        f"{is_unmatched.sum()} of {len(boxes)} objects have a size or shape that no anchor has (IoU below "
        f"{config.rpn.negative_iou}). Their median is {height:.0f} x {width:.0f} pixels (height x width) of "
        f"the resized image. Change `anchors.sizes` {config.anchors.sizes}, `anchors.ratios` or "
        "`input.short_side`."
    )
