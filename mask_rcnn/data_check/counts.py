"""Counts classes, sizes and objects per image of a data set, and finds imbalances."""

import collections
from collections.abc import Mapping

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data.dataset_arrays import DatasetArrays, classes_of_images
from mask_rcnn.data.input_pipeline.instance_limits import count_ignored_objects
from mask_rcnn.data.input_pipeline.trainable import are_tiny
from mask_rcnn.data.records import Dataset
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding

# Minimum area of each size in COCO's evaluation, in square pixels.
AREA_BOUNDS = {"small": 0, "medium": 32**2, "large": 96**2}
MIN_OBJECTS = 20  # objects per class; with fewer, a class is hardly learned and its AP is uncertain


def count_dataset(dataset: Dataset, arrays: DatasetArrays) -> dict:
    """Counts images, objects and classes of a data set.

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.

    Returns:
        Dict for JSON:
        name: Name of the data set.
        images, objects, crowds: Numbers of images, objects and crowd regions.
        images_left_out: Number of images that cannot be used.
        images_without_objects: Number of images without objects.
        objects_with_keypoints: Number of objects with at least one labeled keypoint.
        objects_per_image: {"median", "max"}.
        objects_per_class: {name of the category: number of objects}, for every category.
        images_per_class: {name of the category: number of images with such objects}, for every category.
        objects_per_size: {"small", "medium", "large"} by COCO's areas.
        image_sizes: {"HxW": number of images}, the most frequent first.
        image_bits: {"8", "16": number of images}.
    """
    is_object = ~arrays.crowd
    names = [category.name for category in dataset.categories]
    per_image = np.bincount(arrays.images[is_object], minlength=len(dataset))
    per_class = np.bincount(arrays.class_ids[is_object], minlength=dataset.num_classes + 1)
    images_per_class = np.bincount(classes_of_images(arrays)[1], minlength=dataset.num_classes + 1)
    size_index = np.digitize(arrays.areas[is_object], list(AREA_BOUNDS.values())) - 1
    per_size = np.bincount(size_index, minlength=len(AREA_BOUNDS))
    image_sizes = collections.Counter(f"{image.height}x{image.width}" for image in dataset.images)
    bits = collections.Counter(str(image.bits) for image in dataset.images)
    median = float(np.median(per_image)) if len(dataset) else 0.0
    return {
        "name": dataset.name,
        "images": len(dataset),
        "images_left_out": dataset.num_left_out,
        "objects": int(is_object.sum()),
        "crowds": int(arrays.crowd.sum()),
        "images_without_objects": int(np.count_nonzero(per_image == 0)),
        "objects_with_keypoints": int(arrays.has_keypoints.sum()),
        "objects_per_image": {"median": median, "max": int(per_image.max(initial=0))},
        "objects_per_class": dict(zip(names, per_class[1:].tolist(), strict=True)),
        "images_per_class": dict(zip(names, images_per_class[1:].tolist(), strict=True)),
        "objects_per_size": dict(zip(AREA_BOUNDS, per_size.tolist(), strict=True)),
        "image_sizes": dict(image_sizes.most_common()),
        "image_bits": dict(bits),
    }


def count_findings(
    dataset: Dataset, arrays: DatasetArrays, counts: dict, *, config: Config, is_training_set: bool = True
) -> list[Finding]:
    """Returns the findings about numbers of objects.

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.
        counts: Its `count_dataset`.
        config: `Config` for the training.
        is_training_set: Whether the data set is used for training. Defaults to True.
    """
    findings = (
        _images_without_objects(dataset, arrays, is_training_set),
        *_rare_classes(counts, is_training_set),
        _too_many_objects(dataset, arrays, config.input.max_instances) if is_training_set else None,
        _object_finding(
            dataset,
            arrays,
            ~arrays.crowd & ~arrays.has_mask,
            field="segmentation",
            kind="without_mask",
            title="Objects have no mask",
            advice="Training of masks ignores them. Annotate them, or train boxes only (`mask_head: null`).",
        ),
        _object_finding(
            dataset,
            arrays,
            are_tiny(dataset, arrays, config.input) & is_training_set,
            field="bbox",
            kind="tiny_objects",
            title="Objects are less than 1 pixel high or wide after resizing",
            advice="They are too small to be learned. Raise `input.train_short_sides` and `input.long_side`, "
            "cut the images into tiles, or remove these objects.",
        ),
    )
    return [finding for finding in findings if finding]


def split_findings(counts: Mapping[str, dict]) -> list[Finding]:
    """Returns a list with the finding about classes that only have objects in one of two sets.

    Args:
        counts: `{name of the set: count_dataset}` of two sets.
    """
    present = {
        name: {class_name for class_name, count in set_counts["objects_per_class"].items() if count}
        for name, set_counts in counts.items()
    }
    (first, in_first), (second, in_second) = present.items()
    examples = [Example(text=f"{each}: only in {first}") for each in sorted(in_first - in_second)]
    examples += [Example(text=f"{each}: only in {second}") for each in sorted(in_second - in_first)]
    if not examples:
        return []
    return [
        Finding(
            kind="one_split_classes",
            severity="warning",
            title="Classes have objects in only one split",
            count=len(examples),
            advice="Such a class is not learned, or its AP cannot be measured. Split the images again, so "
            "that each class is in both splits.",
            examples=tuple(examples[:MAX_EXAMPLES]),
            where=f"{first} and {second}",
        )
    ]


def _images_without_objects(dataset, arrays, is_training_set):
    has_object = np.zeros(len(dataset), bool)
    has_object[arrays.images[~arrays.crowd]] = True
    rows = np.flatnonzero(~has_object)
    if not len(rows):
        return None
    examples = [
        Example(image=dataset.images[row].path.name, drawn=((dataset.images[row], None),))
        for row in rows[:MAX_EXAMPLES]
    ]
    return Finding(
        kind="images_without_objects",
        severity="note",
        title="Images have no object",
        count=len(rows),
        advice="Check that they are really empty. "
        + (
            "Training uses them as background, so an object that is not annotated is learned as background."
            if is_training_set
            else "Every detection in them counts as a false positive."
        ),
        examples=tuple(examples),
    )


def _rare_classes(counts, is_training_set):
    per_class, images = counts["objects_per_class"], counts["images_per_class"]
    empty = [name for name, count in per_class.items() if not count]
    if empty and counts["objects"]:
        yield Finding(
            kind="empty_classes",
            severity="note",
            title="Classes have no object",
            count=len(empty),
            advice=f"{'They are not learned' if is_training_set else 'Their AP cannot be measured'}. "
            "Remove the categories, or add images.",
            examples=tuple(Example(text=name) for name in empty[:MAX_EXAMPLES]),
        )
    rare = sorted((count, name) for name, count in per_class.items() if 0 < count < MIN_OBJECTS)
    if rare:
        yield Finding(
            kind="rare_classes",
            severity="warning" if is_training_set else "note",
            title=f"Classes have fewer than {MIN_OBJECTS} objects",
            count=len(rare),
            advice="They are hardly learned. Add images of them, or join them with similar classes."
            if is_training_set
            else "Their AP is uncertain. Add images of them to the validation set.",
            examples=tuple(
                Example(text=f"{name} (objects: {count}, images: {images[name]})")
                for count, name in rare[:MAX_EXAMPLES]
            ),
        )


def _too_many_objects(dataset, arrays, max_instances):
    ignored = count_ignored_objects(dataset, max_instances)
    if not ignored["objects"]:
        return None
    per_image = np.bincount(arrays.images[~arrays.crowd], minlength=len(dataset))
    worst = np.argsort(-per_image, kind="stable")[: min(ignored["images"], MAX_EXAMPLES)]
    return Finding(
        kind="too_many_objects",
        severity="warning",
        title=f"Objects are ignored in training: `input.max_instances` is {max_instances}",
        count=ignored["objects"],
        advice=f"The largest objects of an image are kept. `--set input.max_instances="
        f"{ignored['most_objects']}` trains on all of them.",
        examples=tuple(
            Example(
                text=f"{per_image[row]} objects",
                image=dataset.images[row].path.name,
                drawn=((dataset.images[row], None),),
            )
            for row in worst
        ),
    )


def _object_finding(dataset, arrays, is_chosen, *, field, **texts):
    """Returns a warning about the objects that `is_chosen`, `[N]` bool, selects, or None without any."""
    rows = np.flatnonzero(is_chosen)
    if not len(rows):
        return None
    examples = []
    for row in rows[:MAX_EXAMPLES]:
        record, id = dataset.images[arrays.images[row]], int(arrays.ids[row])
        top, left, bottom, right = arrays.boxes[row]
        examples.append(
            Example(
                text=f"{bottom - top:.1f} x {right - left:.1f} px",
                image=record.path.name,
                annotation=id,
                field=field,
                drawn=((record, (id,)),),
            )
        )
    return Finding(severity="warning", count=len(rows), examples=tuple(examples), **texts)
