"""What is in a data set, and what may be wrong with it: the text behind `mask-rcnn data inspect`."""

import collections

import numpy as np

from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.instances import instance_limit_warning

# Areas in pixels at which COCO's evaluation calls an object medium and large.
AREA_BOUNDS = {"small": 0, "medium": 32**2, "large": 96**2}


def dataset_report(dataset, max_instances=100):
    """Counts what a training run and its author should know of a data set.

    Args:
        dataset: a `Dataset`.
        max_instances: `input.max_instances` of the config to train with. Defaults to 100.

    Returns:
        A dict that json can hold:
        name, images, objects, crowds: of the whole set.
        images_without_objects: how many.
        objects_with_keypoints: how many have any that is known.
        objects_per_image: {"median", "max"}.
        objects_per_class: {name of the category: objects}, every category.
        objects_per_size: {"small", "medium", "large"} by COCO's areas.
        image_sizes: {"HxW": images}, most frequent first.
        warnings: sentences.
    """
    arrays = arrays_of(dataset)
    is_object = ~arrays.crowd
    per_image = np.bincount(arrays.images[is_object], minlength=len(dataset))
    per_class = np.bincount(arrays.class_ids[is_object], minlength=dataset.num_classes + 1)
    size_names = list(AREA_BOUNDS)
    size_index = np.digitize(arrays.areas[is_object], list(AREA_BOUNDS.values())) - 1
    per_size = np.bincount(size_index, minlength=len(size_names))
    image_sizes = collections.Counter(f"{image.height}x{image.width}" for image in dataset.images)
    return {
        "name": dataset.name,
        "images": len(dataset),
        "objects": int(is_object.sum()),
        "crowds": int(arrays.crowd.sum()),
        "images_without_objects": int(np.count_nonzero(per_image == 0)),
        "objects_with_keypoints": int(arrays.has_keypoints.sum()),
        "objects_per_image": {"median": float(np.median(per_image)), "max": int(per_image.max())},
        "objects_per_class": {
            category.name: int(count)
            for category, count in zip(dataset.categories, per_class[1:], strict=True)
        },
        "objects_per_size": dict(zip(size_names, per_size.tolist(), strict=True)),
        "image_sizes": dict(image_sizes.most_common()),
        "warnings": [*dataset.warnings, *_warnings(dataset, arrays, max_instances)],
    }


def format_report(report, max_rows=20):
    """Writes a `dataset_report` as text; long lists show their `max_rows` largest entries."""
    lines = [
        "{name}: {images} images, {objects} objects, {crowds} crowd regions".format(**report),
        f"  images without objects  {report['images_without_objects']}",
        f"  objects with keypoints  {report['objects_with_keypoints']}",
        "  objects an image        median {median:g}, at most {max}".format(**report["objects_per_image"]),
    ]
    for key, title in (
        ("objects_per_class", "objects of each class"),
        ("objects_per_size", "objects of each size (COCO: 32² and 96² pixels)"),
        ("image_sizes", "image sizes"),
    ):
        lines += ["", f"  {title}", *_histogram(report[key], max_rows)]
    lines += ["", f"  {len(report['warnings'])} warnings"]
    lines += [f"    {warning}" for warning in report["warnings"]]
    return "\n".join(lines)


def _histogram(counts, max_rows):
    rows = sorted(counts.items(), key=lambda item: -item[1])
    longest = max(len(name) for name, _ in rows[:max_rows])
    scale = 40 / max(1, rows[0][1])  # characters of the longest bar
    lines = [
        f"    {name:<{longest}} {count:>7} {'█' * round(count * scale)}" for name, count in rows[:max_rows]
    ]
    return lines + ([f"    ... and {len(rows) - max_rows} more"] if len(rows) > max_rows else [])


def _warnings(dataset, arrays, max_instances):
    is_object, sides = ~arrays.crowd, arrays.boxes[:, 2:] - arrays.boxes[:, :2]
    found = set(arrays.class_ids[is_object].tolist())
    absent = [category.name for index, category in enumerate(dataset.categories, 1) if index not in found]
    without_mask = np.count_nonzero(is_object & ~arrays.has_mask)
    tiny = np.count_nonzero(is_object & (sides < 2).any(axis=1))
    warnings = [check_bit_depth(dataset), instance_limit_warning(dataset, max_instances)]
    warnings = [warning for warning in warnings if warning]
    duplicates = _duplicates(dataset, arrays)
    if duplicates:
        images = ", ".join(map(str, list(duplicates)[:5]))
        warnings.append(
            f"{sum(duplicates.values())} objects have class and box of another one in their image "
            f"({len(duplicates)} images: {images}{', ...' if len(duplicates) > 5 else ''})"
        )
    if absent:
        warnings.append(f"{len(absent)} classes have no object: {', '.join(absent[:20])}")
    if without_mask:
        warnings.append(f"{without_mask} objects have no segmentation: only boxes can be trained")
    if tiny:
        warnings.append(f"{tiny} objects are less than 2 pixels high or wide")
    return warnings


def _duplicates(dataset, arrays):
    """{image id: annotations that repeat another one of the same class and box}."""
    places = np.column_stack([arrays.images, arrays.class_ids, arrays.boxes])
    places = places[np.lexsort(places.T[::-1])]
    repeated = places[1:][(places[1:] == places[:-1]).all(axis=1), 0].astype(int)
    images, counts = np.unique(repeated, return_counts=True)
    return {dataset.images[image].id: count for image, count in zip(images, counts.tolist(), strict=True)}
