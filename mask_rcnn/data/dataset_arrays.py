"""All annotations of a data set as arrays, for what looks at the whole set: checks, counts, reports."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.data.annotation_table import ImageAnnotations, starts_of
from mask_rcnn.data.keypoints import has_keypoints


@dataclass(frozen=True)
class DatasetArrays:
    """N annotations of a data set, in the order of its images.

    Args:
        images: `[N]` int64, index of the image in the data set.
        ids: `[N]`, number of the annotation in its file.
        class_ids: `[N]` int64, 1..K.
        boxes: `[N, 4]` float64 (y1, x1, y2, x2), pixels.
        areas: `[N]` float64, pixels.
        crowd: `[N]` bool.
        has_mask: `[N]` bool, whether there is a segmentation.
        num_keypoints: `[N]` int64, keypoints of the category that are listed, known or not.
        has_keypoints: `[N]` bool, whether any keypoint of an object is known.
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
    """Returns the `DatasetArrays` of a `Dataset`; fast if one reader made all of its records."""
    tables = {
        id(image.annotations.table) if isinstance(image.annotations, ImageAnnotations) else None
        for image in dataset.images
    }
    if len(tables) == 1 and None not in tables:
        return _from_table(dataset)
    return _from_records(dataset)


def _from_table(dataset):
    table = dataset.images[0].annotations.table
    first = np.array([image.annotations.start for image in dataset.images], "int64")
    counts = np.array([len(image.annotations) for image in dataset.images], "int64")
    images = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(images)) + (first - starts_of(counts))[images]
    table, sizes = table.take(rows), dataset.sizes[images]
    x, y, width, height = table.boxes.T
    right, bottom = np.minimum(x + width, sizes[:, 1]), np.minimum(y + height, sizes[:, 0])
    return DatasetArrays(
        images=images,
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
