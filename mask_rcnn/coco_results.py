"""Detections as COCO writes them, to a file and back.

A results file is a json list with one entry for each object:
`{"image_id", "category_id", "bbox": [x, y, width, height], "score", "segmentation": RLE}`.
This is the only place where boxes leave and enter as xywh, and keypoints as numbers of pixels.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.data.masks import full_mask
from mask_rcnn.files import atomic_write
from mask_rcnn.structures import Detections

PIXEL_CENTRE = np.array((HALF_PIXEL, HALF_PIXEL, 0), "float32")  # of pixel (0, 0), with a score


def to_coco(detections, image_id, categories):
    """Returns the detections of one image as entries of a COCO results file.

    Args:
        detections: a `Detections` of N objects.
        image_id: the id of the image in the annotation file.
        categories: the K `Category` records; class id `i` is `categories[i - 1]`.

    Returns:
        A list of N dicts, ready for `write_json`: `image_id`, `category_id`, `bbox` (x, y, width, height
        as floats), `score`; `segmentation` (compressed RLE) and `keypoints` (flat x, y, score, in numbers
        of pixels) where there are any.
    """
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
        categories: the K `Category` records.

    Returns:
        A `Detections` of as many objects, in the same order.
    """
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
    return zip(*[_crop(segmentation, image_size) for segmentation in segmentations], strict=True)


def _crop(segmentation, image_size):
    """Returns the smallest crop that holds the mask of a segmentation, and its (y, x)."""
    mask = full_mask(segmentation, *image_size) if segmentation else np.zeros(image_size, bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros((0, 0), bool), (0, 0)
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return crop.copy(), (rows[0], columns[0])  # a view would keep the whole mask


def write_json(path, value):
    """Writes `value` to `path`; a reader finds the old file or the new one, never half of it."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")


def read_annotations(source):
    """Returns a COCO annotation file as a dict, with what evaluation needs filled in.

    Args:
        source: path of the json, or its content. The content is not changed.

    Returns:
        A dict with `images`, `categories` and `annotations`; each annotation has `iscrowd` and `area`.
    """
    content, name = _read(source)
    missing = [key for key in ("images", "categories", "annotations") if key not in content]
    if not isinstance(content, dict) or missing:
        raise ValueError(
            "A COCO annotation file holds an object with images, categories and annotations. "
            f"Received: {name} with {_kind(content)}. Give the file with the truth, not one with results."
        )
    annotations = []
    for annotation in content["annotations"]:
        width, height = annotation["bbox"][2:]
        annotations.append({"iscrowd": 0, "area": width * height, **annotation})
    return {**content, "annotations": annotations}


def read_results(source, annotations):
    """Returns the entries of a COCO results file after checking each of them.

    Args:
        source: path of the json, or its content, a list.
        annotations: path or content of the annotation file that the results belong to.

    Returns:
        A list of dicts as `to_coco` writes them.
    """
    entries, name = _read(source)
    if not isinstance(entries, list):
        raise ValueError(
            "A COCO results file holds a list with one entry for each object. "
            f"Received: {name} with {_kind(entries)}. Give the file with results, not one with the truth."
        )
    truth, _ = _read(annotations)
    sizes = {image["id"]: [image["height"], image["width"]] for image in truth["images"]}
    category_ids = {category["id"] for category in truth["categories"]}
    for i, entry in enumerate(entries):
        problem = _problem(entry, sizes, category_ids)
        if problem:
            expected, received, advice = problem
            raise ValueError(f"{name}, entry {i}: {expected} Received: {received}. {advice}")
    return entries


def _problem(entry, sizes, category_ids):
    """Returns None, or (what is expected, what came, what to do) for a bad entry."""
    if not isinstance(entry, dict):
        return "An entry is an object.", repr(entry), "See cocodataset.org, results format."
    image_id, category_id, score = (entry.get(key) for key in ("image_id", "category_id", "score"))
    if not isinstance(image_id, int | str) or image_id not in sizes:
        advice = "Use the annotation file of the images that were detected in."
        return "`image_id` must be in the annotation file.", f"image_id={image_id!r}", advice
    if not isinstance(category_id, int) or category_id not in category_ids:
        advice = f"Its ids are {sorted(category_ids)[:10]}..; they may have gaps."
        return "`category_id` must be in the annotation file.", f"category_id={category_id!r}", advice
    if not _are_numbers([score], 1):
        return "`score` must be a finite number.", f"score={score!r}", "Higher is surer."
    box, mask, points = (entry.get(key) for key in ("bbox", "segmentation", "keypoints"))
    if box is None and mask is None and points is None:
        return "An entry has a bbox, a segmentation or keypoints.", f"{sorted(entry)}", "Add one."
    if box is not None and not (_are_numbers(box, 4) and min(box[2:]) >= 0):
        return "`bbox` must be [x, y, width, height].", f"bbox={box!r}", "Give pixels, none negative in size."
    if points is not None and not (points and len(points) % 3 == 0 and _are_numbers(points, len(points))):
        return "`keypoints` must be a flat list x, y, score.", f"keypoints={str(points)[:60]}", "Flatten it."
    if mask is not None:
        return _mask_problem(mask, sizes[image_id])
    return None


def _mask_problem(mask, size):
    """As `_problem`, for the mask of an image of `size`."""
    is_rle = isinstance(mask, dict) and isinstance(mask.get("counts"), str | list)
    if not is_rle or mask.get("size") != size:
        received = f"size={mask.get('size')}" if is_rle else f"segmentation={str(mask)[:60]}"
        return (
            f"`segmentation` must be an RLE of size {size} (height, width).",
            received,
            "Encode whole masks.",
        )
    counts, pixels = mask["counts"], size[0] * size[1]
    area = sum(counts[1::2]) if isinstance(counts, list) else int(coco_mask.area(mask))
    if area > pixels:
        return f"The mask must fit in {pixels} pixels.", f"a mask of {area}", "Encode it again."
    return None


def _are_numbers(values, length):
    """Tells whether `values` is a list of `length` finite numbers."""
    if not isinstance(values, list | tuple) or len(values) != length:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _read(source):
    """Returns the content of a json file, or `source` itself if it is the content, and a name for it."""
    if not isinstance(source, str | os.PathLike):
        return source, "the given content"
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"A json file is expected. Received: {source}, which does not exist. Check the path."
        )
    try:
        return json.loads(Path(source).read_text(encoding="utf-8")), str(source)
    except ValueError as error:
        raise ValueError(
            f"A json file is expected. Received: {source}, which is none: {error}. Write the file again."
        ) from error


def _kind(content):
    return f"keys {sorted(content)[:6]}" if isinstance(content, dict) else f"a {type(content).__name__}"
