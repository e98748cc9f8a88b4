"""Detections as COCO writes them, to a file and back; `data/results.py` reads results files of any system.

A results file is a json list with one entry for each object:
`{"image_id", "category_id", "bbox": [x, y, width, height], "score", "segmentation": RLE}`.
This is the only place where boxes leave and enter as xywh, and keypoints as numbers of pixels.
"""

import json

import numpy as np

from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.data.masks import full_mask
from mask_rcnn.files import atomic_write
from mask_rcnn.structures import Detections, as_categories, smallest_crop

PIXEL_CENTRE = np.array((HALF_PIXEL, HALF_PIXEL, 0), "float32")  # of pixel (0, 0), with a score


def to_coco(detections, image_id, categories):
    """Returns the detections of one image as entries of a COCO results file.

    Args:
        detections: a `Detections` of N objects.
        image_id: the id of the image in the annotation file.
        categories: the K `Category` records, or names with the ids 1..K; class id `i` is `categories[i - 1]`.

    Returns:
        A list of N dicts, ready for `write_json`: `image_id`, `category_id`, `bbox` (x, y, width, height
        as floats), `score`; `segmentation` (compressed RLE) and `keypoints` (flat x, y, score, in numbers
        of pixels) where there are any.
    """
    categories = as_categories(categories, len(categories))
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
            entry["keypoints"] = (detections.keypoints[i] - PIXEL_CENTRE).ravel().tolist()
        entries.append(entry)
    return entries


def from_coco(entries, image_size, categories):
    """Returns entries of a results file, or annotations of a data set, as `Detections`.

    An annotation is truth: it has score 1. An entry without a segmentation gets an empty mask if
    any other has one.

    Args:
        entries: dicts of one image, with `category_id` and `bbox`.
        image_size: (height, width) of the image.
        categories: the K `Category` records, or names with the ids 1..K.

    Returns:
        A `Detections` of as many objects, in the same order.
    """
    categories = as_categories(categories, len(categories))
    class_ids = {category.id: i for i, category in enumerate(categories, start=1)}
    boxes = np.array([entry["bbox"] for entry in entries], "float64").reshape(-1, 4)  # xywh
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=-1)  # xyxy
    masks, origins = _crops([entry.get("segmentation") for entry in entries], image_size)
    points = [entry.get("keypoints") for entry in entries]
    points = [each and tuple(zip(each[::3], each[1::3], each[2::3], strict=True)) for each in points]
    are_truth = not any("score" in entry for entry in entries)
    return Detections(
        boxes=corners[:, [1, 0, 3, 2]],
        scores=[entry.get("score", 1.0) for entry in entries],
        class_ids=[class_ids[entry["category_id"]] for entry in entries],
        image_size=image_size,
        masks=masks,
        mask_origins=origins,
        keypoints=_points(points, are_truth),
    )


def from_record(record):
    """Returns the objects of an `ImageRecord`, without its crowd regions, as `Detections` with score 1."""
    objects = [annotation for annotation in record.annotations if not annotation.crowd]
    image_size = (record.height, record.width)
    masks, origins = _crops([annotation.segmentation for annotation in objects], image_size)
    return Detections(
        boxes=np.reshape([annotation.box for annotation in objects], (-1, 4)),
        scores=np.ones(len(objects)),
        class_ids=[annotation.class_id for annotation in objects],
        image_size=image_size,
        masks=masks,
        mask_origins=origins,
        keypoints=_points([annotation.keypoints for annotation in objects], are_truth=True),
    )


def _points(points, are_truth):
    """Returns keypoints as `Detections` keeps them, `[N, J, 3]` (x, y, score), or None if there are none.

    Args:
        points: N tuples of COCO's (x, y, visibility or score), or None.
        are_truth: the third number is the visibility: what is known has score 1.
    """
    if not any(points):
        return None
    num_keypoints = max(len(each) for each in points if each)
    keypoints = np.array([each or [(0, 0, 0)] * num_keypoints for each in points], "float32") + PIXEL_CENTRE
    if are_truth:
        keypoints[..., 2] = keypoints[..., 2] > 0
    return keypoints


def _crops(segmentations, image_size):
    """Returns the masks and their origins as `Detections` keeps them, or None twice if there are none."""
    if not any(segmentations):
        return None, None
    return zip(*[mask_crop(segmentation, image_size) for segmentation in segmentations], strict=True)


def mask_crop(segmentation, image_size):
    """Returns the smallest crop `[h, w]` bool that holds the mask of a segmentation, and its (y, x).

    Args:
        segmentation: Polygons or run lengths as in COCO; None is an empty mask.
        image_size: (height, width) of the image.
    """
    mask = full_mask(segmentation, *image_size) if segmentation else np.zeros(image_size, bool)
    return smallest_crop(mask)


def write_json(path, value):
    """Writes `value` to `path`; a reader finds the old file or the new one, never half of it."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")
