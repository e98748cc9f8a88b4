"""Converts `Detections` to and from entries of COCO results files.

A results file is a JSON list with one entry per object: `{"image_id", "category_id", "bbox": [x, y, width,
height], "score", "segmentation": RLE}`. `data/readers/results.py` reads the results files of any system. Only
this module converts boxes between yxyx and xywh, and keypoints between coordinates and pixel indices.
"""

import json
from collections.abc import Sequence

import numpy as np

from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.records import ImageRecord
from mask_rcnn.structures import Category, Detections, as_categories, smallest_crop
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import AnyPath

PIXEL_CENTER = np.array((HALF_PIXEL, HALF_PIXEL, 0), "float32")  # (x, y, score): center of pixel (0, 0)


def to_coco(
    detections: Detections, image_id: int | str | None, categories: Sequence[Category | str | None]
) -> list[dict]:
    """Converts the detections of one image to entries of a COCO results file.

    Args:
        detections: `Detections` of N objects.
        image_id: Id of the image in the annotation file. None for a value that the caller replaces.
        categories: Sequence of K `Category`, or names with the ids 1..K. Class id i is `categories[i - 1]`.

    Returns:
        List of N dicts, ready for `write_json`:
        image_id: As given.
        category_id: `id` of the category.
        bbox: List of 4 floats, (x, y, width, height), pixels.
        score: Float, 0 to 1.
        segmentation: Compressed RLE, only if `detections` has masks.
        keypoints: Flat list of (x, y, score) for each keypoint, in pixel indices, only if there are any.

    Raises:
        ValueError: If a class id is larger than K.
    """
    # No detection may have the class of a category None.
    categories = as_categories(categories, len(categories))  # pyright: ignore[reportArgumentType]
    if len(detections) and detections.class_ids.max() > len(categories):
        raise ValueError(
            f"Class ids must not exceed the number of categories, {len(categories)}. "
            f"Received: class_ids up to {detections.class_ids.max()}. "
            "Give the categories that the model was trained with."
        )
    entries = []
    for i, (y1, x1, y2, x2) in enumerate(detections.boxes.astype("float64").tolist()):
        entry = {
            "image_id": image_id,
            "category_id": categories[detections.class_ids[i] - 1].id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(detections.scores[i]),
        }
        if detections.masks is not None:
            entry["segmentation"] = detections.rle(i)
        if detections.keypoints is not None:
            entry["keypoints"] = (detections.keypoints[i] - PIXEL_CENTER).ravel().tolist()
        entries.append(entry)
    return entries


def from_coco(
    entries: Sequence[dict], image_size: tuple[int, int], categories: Sequence[Category | str]
) -> Detections:
    """Converts entries of a COCO results file or COCO annotations (ground truth) to `Detections`.

    Annotations have no score and get the score 1. An entry without a segmentation gets an empty mask if
    another entry has a segmentation.

    Args:
        entries: List of dicts of one image, with the keys `category_id` and `bbox`. The keys `score`,
            `segmentation` and `keypoints` are optional.
        image_size: (height, width) of the image, pixels.
        categories: Sequence of K `Category`, or names with the ids 1..K. Class id i is `categories[i - 1]`.

    Returns:
        `Detections` of all entries, in the same order.
    """
    categories = as_categories(categories, len(categories))
    class_ids = {category.id: i for i, category in enumerate(categories, start=1)}
    boxes = np.array([entry["bbox"] for entry in entries], "float64").reshape(-1, 4)  # xywh
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=-1)  # xyxy
    masks, origins = _crops([entry.get("segmentation") for entry in entries], image_size)
    points = [entry.get("keypoints") for entry in entries]
    points = [each and tuple(zip(each[::3], each[1::3], each[2::3], strict=True)) for each in points]
    is_ground_truth = not any("score" in entry for entry in entries)
    return Detections(
        boxes=corners[:, [1, 0, 3, 2]],
        scores=np.array([entry.get("score", 1.0) for entry in entries], "float32"),
        class_ids=np.array([class_ids[entry["category_id"]] for entry in entries], "int32"),
        image_size=image_size,
        masks=masks,
        mask_origins=origins,
        keypoints=_points(points, is_ground_truth),
    )


def from_record(record: ImageRecord) -> Detections:
    """Converts the annotations of an `ImageRecord` to `Detections` with score 1. Omits crowd regions."""
    objects = [annotation for annotation in record.annotations if not annotation.crowd]
    image_size = (record.height, record.width)
    masks, origins = _crops([annotation.segmentation for annotation in objects], image_size)
    return Detections(
        boxes=np.reshape([annotation.box for annotation in objects], (-1, 4)),
        scores=np.ones(len(objects)),
        class_ids=np.array([annotation.class_id for annotation in objects], "int32"),
        image_size=image_size,
        masks=masks,
        mask_origins=origins,
        keypoints=_points([annotation.keypoints for annotation in objects], is_ground_truth=True),
    )


def _points(points, is_ground_truth):
    """Converts keypoints to the form of `Detections`: `[N, J, 3]`, (x, y, score), or None without keypoints.

    Args:
        points: N items, each None or a tuple of COCO's (x, y, visibility or score).
        is_ground_truth: Whether the third number is a visibility. If so, labeled keypoints get the score 1.
    """
    if not any(points):
        return None
    num_keypoints = max(len(each) for each in points if each)
    keypoints = np.array([each or [(0, 0, 0)] * num_keypoints for each in points], "float32") + PIXEL_CENTER
    if is_ground_truth:
        keypoints[..., 2] = keypoints[..., 2] > 0
    return keypoints


def _crops(segmentations, image_size):
    """Returns (masks, mask_origins) in the form of `Detections`. Both are None without segmentations."""
    if not any(segmentations):
        return None, None
    crops = [mask_crop(segmentation, image_size) for segmentation in segmentations]
    return tuple(crop for crop, _ in crops), np.array([origin for _, origin in crops], "int32")


def mask_crop(
    segmentation: list | dict | None, image_size: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the mask of a segmentation, cropped to its bounding box.

    Args:
        segmentation: COCO polygons or RLE. None is an empty mask.
        image_size: (height, width) of the image, pixels.

    Returns:
        Tuple of the crop, `[h, w]` bool, and the (y, x) of its first pixel in the image. An empty mask has
        the shape `[0, 0]` and the origin (0, 0).
    """
    mask = full_mask(segmentation, *image_size) if segmentation else np.zeros(image_size, bool)
    crop, (y, x) = smallest_crop(mask)
    return crop, (y, x)


def write_json(path: AnyPath, value: object) -> None:
    """Writes `value` as JSON to `path` in an atomic write."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")
