"""All annotations of a data set as arrays, for checks, counts and reports over the whole set."""

from dataclasses import dataclass, replace

import numpy as np

from mask_rcnn.data.annotation_table import AnnotationTable, ImageAnnotations, starts_of, table_of
from mask_rcnn.data.keypoints import has_keypoints
from mask_rcnn.data.records import Annotation, Dataset


@dataclass(frozen=True, kw_only=True)
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


def arrays_of(dataset: Dataset) -> DatasetArrays:
    """Returns the `DatasetArrays` of a `Dataset`. This is fast if all records share one `AnnotationTable`."""
    return _from_table(dataset) if _ranges_of_one_table(dataset) else _from_records(dataset)


def table_of_dataset(dataset: Dataset) -> AnnotationTable:
    """Returns the annotations of a `Dataset` as an `AnnotationTable` in the order of its images.

    `images` are indices into the data set. Boxes are (x, y, width, height). Those of a COCO json are as in
    the file, not clipped to their images.
    """
    ranges = _ranges_of_one_table(dataset)
    if not ranges:
        pairs = [
            (index, annotation)
            for index, image in enumerate(dataset.images)
            for annotation in image.annotations
        ]
        return table_of([_as_dict(annotation) for _, annotation in pairs], [index for index, _ in pairs])
    table = ranges[0].table
    first = np.array([rows.start for rows in ranges], "int64")
    counts = np.array([len(image.annotations) for image in dataset.images], "int64")
    images = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(images)) + (first - starts_of(counts))[images]
    return replace(table.take(rows), images=images)


def _ranges_of_one_table(dataset: Dataset) -> list[ImageAnnotations]:
    """Returns the annotations of each image if all are rows of one table, otherwise an empty list."""
    annotations = [image.annotations for image in dataset.images]
    ranges = [each for each in annotations if isinstance(each, ImageAnnotations)]
    is_one_table = len(ranges) == len(annotations) and len({id(each.table) for each in ranges}) == 1
    return ranges if is_one_table else []


def _as_dict(annotation: Annotation):
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
    annotations = [annotation for image in dataset.images for annotation in image.annotations]
    counts = [len(image.annotations) for image in dataset.images]
    return DatasetArrays(
        images=np.repeat(np.arange(len(counts)), np.array(counts, "int64")),
        ids=np.array([annotation.id for annotation in annotations]),
        class_ids=np.array([annotation.class_id for annotation in annotations], "int64"),
        boxes=np.array([annotation.box for annotation in annotations], "float64").reshape(-1, 4),
        areas=np.array([annotation.area for annotation in annotations], "float64"),
        crowd=np.array([annotation.crowd for annotation in annotations], bool),
        has_mask=np.array([bool(annotation.segmentation) for annotation in annotations], bool),
        num_keypoints=np.array([len(annotation.keypoints or ()) for annotation in annotations], "int64"),
        has_keypoints=np.array([has_keypoints(annotation) for annotation in annotations], bool),
    )


def classes_of_images(arrays: DatasetArrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct pairs of an image and a class that has an object in it, without crowd regions.

    Args:
        arrays: `DatasetArrays`.

    Returns:
        images: `[P]` int64, image index of each pair.
        class_ids: `[P]` int64, class of each pair.
    """
    pairs = np.stack([arrays.images, arrays.class_ids], axis=1)[~arrays.crowd]
    images, class_ids = np.unique(pairs, axis=0).T
    return images, class_ids
