"""All annotations of a data set as arrays, for checks, counts and reports over the whole set."""

from dataclasses import dataclass, replace

import numpy as np

from mask_rcnn.data.annotation_table import ImageAnnotations, starts_of, table_of
from mask_rcnn.data.keypoints import has_keypoints


@dataclass(frozen=True)
class DatasetArrays:
    """N annotations of a data set, in the order of its images.

    Args:
        images: `[N]` int64, index of the image in the data set.
        ids: `[N]`, ids of the annotations in their file.
        class_ids: `[N]` int64, 1..K.
        boxes: `[N, 4]` float64 (y1, x1, y2, x2), pixels.
        areas: `[N]` float64, square pixels.
        crowd: `[N]` bool.
        has_mask: `[N]` bool, whether there is a segmentation.
        num_keypoints: `[N]` int64, number of listed keypoints, with any visibility.
        has_keypoints: `[N]` bool, whether an object that is not a crowd region has a labeled keypoint.
    """

    images: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    has_mask: np.ndarray
    num_keypoints: np.ndarray
    has_keypoints: np.ndarray


def arrays_of(dataset):
    """Returns the `DatasetArrays` of a `Dataset`. It is fast if one reader made all of its records."""
    return _from_table(dataset) if _has_one_table(dataset) else _from_records(dataset)


def table_of_dataset(dataset):
    """Returns the annotations of a `Dataset` as an `AnnotationTable` in the order of its images.

    `images` are indices into the data set. Boxes are (x, y, width, height). Those of a COCO json are as in
    the file, not clipped to their images.
    """
    if not _has_one_table(dataset):
        pairs = [(index, one) for index, image in enumerate(dataset.images) for one in image.annotations]
        return table_of([_as_dict(one) for _, one in pairs], [index for index, _ in pairs])
    table = dataset.images[0].annotations.table
    first = np.array([image.annotations.start for image in dataset.images], "int64")
    counts = np.array([len(image.annotations) for image in dataset.images], "int64")
    images = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(images)) + (first - starts_of(counts))[images]
    return replace(table.take(rows), images=images)


def _has_one_table(dataset):
    tables = {
        id(image.annotations.table) if isinstance(image.annotations, ImageAnnotations) else None
        for image in dataset.images
    }
    return len(tables) == 1 and None not in tables


def _as_dict(annotation):
    """Returns an `Annotation` as a dict like those of `read_annotation`."""
    top, left, bottom, right = annotation.box
    points = annotation.keypoints
    return {
        "id": annotation.id,
        "category_id": annotation.class_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": annotation.area,
        "iscrowd": int(annotation.crowd),
        "segmentation": annotation.segmentation or None,
        "keypoints": [number for point in points for number in point] if points else None,
    }


def _from_table(dataset):
    table = table_of_dataset(dataset)
    sizes = dataset.sizes[table.images]
    x, y, width, height = table.boxes.T
    right, bottom = np.minimum(x + width, sizes[:, 1]), np.minimum(y + height, sizes[:, 0])
    return DatasetArrays(
        images=table.images,
        ids=table.ids,
        class_ids=table.class_ids,
        boxes=np.stack([np.maximum(y, 0), np.maximum(x, 0), bottom, right], axis=1),
        areas=table.areas,
        crowd=table.crowd,
        has_mask=table.has_mask,
        num_keypoints=table.num_keypoints,
        has_keypoints=table.has_keypoints & ~table.crowd,
    )


def _from_records(dataset):
    annotations = [one for image in dataset.images for one in image.annotations]
    counts = [len(image.annotations) for image in dataset.images]
    return DatasetArrays(
        images=np.repeat(np.arange(len(counts)), np.array(counts, "int64")),
        ids=np.array([one.id for one in annotations]),
        class_ids=np.array([one.class_id for one in annotations], "int64"),
        boxes=np.array([one.box for one in annotations], "float64").reshape(-1, 4),
        areas=np.array([one.area for one in annotations], "float64"),
        crowd=np.array([one.crowd for one in annotations], bool),
        has_mask=np.array([bool(one.segmentation) for one in annotations], bool),
        num_keypoints=np.array([len(one.keypoints or ()) for one in annotations], "int64"),
        has_keypoints=np.array([has_keypoints(one) for one in annotations], bool),
    )


def classes_of_images(arrays):
    """Returns the distinct pairs of an image and a class that has an object in it, without crowd regions.

    Args:
        arrays: `DatasetArrays`.

    Returns:
        images: `[P]` int64, image index of each pair.
        class_ids: `[P]` int64, class of each pair.
    """
    pairs = np.stack([arrays.images, arrays.class_ids], axis=1)[~arrays.crowd]
    return np.unique(pairs, axis=0).T
