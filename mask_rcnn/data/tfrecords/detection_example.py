"""Converts between a `tf.train.Example` of an image with its objects and entries of a COCO json.

Schema (TensorFlow Model Garden, official/vision/data/create_coco_tf_record.py, and the Object Detection API):

- `image/encoded` is the image file. `image/source_id` is the id of the image as text.
- Boxes are float32 fractions of width and height: `xmin`, `xmax`, `ymin`, `ymax`, each with one value per
  object.
- `class/label` is the category id, `class/text` its name. The Object Detection API only needs the text.
- `mask` is a PNG file of the whole image for each object, with 1 inside the object. The schema has no value
  for an object without a mask. Here, a mask without a pixel means that.
- The keypoints of all objects are concatenated, the same number for each object: `x` and `y` as fractions,
  `visibility` as in COCO, and `text`, the name.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mask_rcnn.data.image_io.png_ids import decode_ids
from mask_rcnn.data.masks import mask_extent
from mask_rcnn.data.tfrecords.record_image import ENCODED
from mask_rcnn.structures import encode_crop

FILE_NAME, FORMAT, SOURCE_ID = "image/filename", "image/format", "image/source_id"
HEIGHT, WIDTH = "image/height", "image/width"
BOX = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
LABEL, TEXT = "image/object/class/label", "image/object/class/text"
CROWD, AREA, MASK = "image/object/is_crowd", "image/object/area", "image/object/mask"
POINT = tuple(f"image/object/keypoint/{name}" for name in ("x", "y"))
VISIBILITY, POINT_NAME = "image/object/keypoint/visibility", "image/object/keypoint/text"
NUM_POINTS = "image/object/keypoint/num"

MAX_REACH = 1.0  # a box may exceed its image by one image size; pixels instead of fractions exceed it by more
MAX_SIDE = 2**16  # pixels
DECIMALS = 2  # decimals of a coordinate in pixels, as in COCO
TYPE_NAMES = {bytes: "bytes", float: "floats", int: "whole numbers"}


def values_of(features: Mapping[str, list], name: str, kind: type, *, count: int | None = None) -> list:
    """Returns the list of values of a feature, or an empty list if there is none.

    Args:
        features: Dict from `decode_example`.
        name: Name of the feature.
        kind: Expected type: `bytes`, `float` or `int`.
        count: Expected number of values, unless the feature is empty. Defaults to None: any number.

    Raises:
        ValueError: The feature has another type or number of values.
    """
    values = features.get(name, [])
    if values and type(values[0]) is not kind:
        raise ValueError(f"{name} with {TYPE_NAMES[type(values[0])]} instead of {TYPE_NAMES[kind]}")
    if values and count is not None and len(values) != count:
        raise ValueError(f"{name} with {len(values)} values instead of {count}")
    return values


def text_of(features: Mapping[str, list], name: str) -> str | None:
    """Returns the text of a feature with one value, or None if there is none.

    Args:
        features: Dict from `decode_example`.
        name: Name of the feature.

    Raises:
        ValueError: The feature is no text in UTF-8, or has several values.
    """
    values = values_of(features, name, bytes, count=1)
    return _text(values[0], name) if values else None


def _text(value, name):
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} that is not in UTF-8") from error


def read_image_fields(features: Mapping[str, list]) -> dict[str, Any]:
    """Returns the fields of the image of an `Example`.

    Args:
        features: Dict from `decode_example`.

    Returns:
        Dict with the texts `file_name`, `source_id` and `format` and the ints `height` and `width`. A missing
        field is None.

    Raises:
        ValueError: The image is missing, or a field is invalid.
    """
    if not values_of(features, ENCODED, bytes, count=1):
        raise ValueError(f"no feature {ENCODED}")
    sides = {}
    for side, name in (("height", HEIGHT), ("width", WIDTH)):
        sides[side] = next(iter(values_of(features, name, int, count=1)), None)
        if sides[side] is not None and not 0 < sides[side] <= MAX_SIDE:
            raise ValueError(f"{name} of {sides[side]}")
    texts = {"file_name": FILE_NAME, "source_id": SOURCE_ID, "format": FORMAT}
    return {key: text_of(features, name) for key, name in texts.items()} | sides


def read_objects(features: Mapping[str, list], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Returns the objects of an image as a list of dicts.

    Args:
        features: Dict from `decode_example`.
        size: (height, width) of the image.

    Returns:
        Dicts with `bbox`, `keypoint_names`, and `label` (int) or `text` (str) or both. Optional keys are
        `segmentation`, `area`, `iscrowd` and `keypoints`, as in a COCO json.

    Raises:
        ValueError: Features are missing or contradict each other.
    """
    count = len(values_of(features, BOX[0], float))
    boxes = _boxes(features, count, size)
    labels, texts = (
        values_of(features, LABEL, int, count=count),
        values_of(features, TEXT, bytes, count=count),
    )
    if count and not labels and not texts:
        raise ValueError(f"{count} boxes and neither {LABEL} nor {TEXT}")
    optional = {
        "iscrowd": values_of(features, CROWD, int, count=count),
        "area": values_of(features, AREA, float, count=count),
    }
    masks, points = values_of(features, MASK, bytes, count=count), _keypoints(features, count, size)
    objects = []
    for row, box in enumerate(boxes):
        names, flat = points[row] if points else ([], [])
        entry = {
            "label": labels[row] if labels else None,
            "text": _text(texts[row], TEXT) if texts else None,
            "bbox": box,
            "segmentation": _mask(masks[row], size, row) if masks else None,
            "keypoint_names": names,
            "keypoints": flat if any(flat) else None,
        }
        entry |= {name: values[row] for name, values in optional.items() if values}
        if not math.isfinite(entry.get("area", 0.0)):
            raise ValueError(f"{AREA} of object {row} that is not finite")
        objects.append({key: value for key, value in entry.items() if value is not None})
    return objects


def _boxes(features, count, size):
    """Returns the box [x, y, width, height] of each object, in pixels."""
    sides = []
    for name in BOX:
        values = values_of(features, name, float, count=count)
        if len(values) != count:
            raise ValueError(f"{count} objects and no feature {name}")
        if not all(-MAX_REACH <= value <= 1 + MAX_REACH for value in values):  # False for NaN
            raise ValueError(f"{name} with values that are not fractions of the image size")
        sides.append(_pixels(values, size[0] if name.endswith(("ymin", "ymax")) else size[1]))
    left, top, right, bottom = sides
    boxes = np.stack([left, top, right - left, bottom - top], axis=-1) if count else np.zeros((0, 4))
    return _decimal(boxes, max(size)).tolist()


def _pixels(fractions, side):
    """Returns float32 fractions of a side converted to pixels, float64."""
    return _decimal(np.array(fractions, "float64") * side, side)


def _decimal(pixels, side):
    """Rounds coordinates to COCO's decimals if the change is below the precision of float32 fractions."""
    rounded = np.round(pixels, DECIMALS)
    return np.where(np.abs(pixels - rounded) <= side * np.finfo("float32").eps, rounded, pixels)


def _mask(data, size, row):
    """Returns the run-length mask of an object, or None if the mask has no pixel."""
    mask = decode_ids(data, size, name=f"{MASK} of object {row}", where="its image") != 0
    top, left, bottom, right = mask_extent(mask).astype(int).tolist()
    return encode_crop(mask[top:bottom, left:right], (top, left), size) if bottom else None


def _keypoints(features, count, size):
    """Returns (names, flat list of x, y, visibility) for each object, or [] without keypoints."""
    total = len(values_of(features, POINT[0], float))
    if not total:
        return []
    if not count or total % count:
        raise ValueError(f"{POINT[0]} with {total} values for {count} objects")
    names = [_text(name, POINT_NAME) for name in values_of(features, POINT_NAME, bytes, count=total)]
    x, y = (values_of(features, name, float, count=total) for name in POINT)
    visibility = values_of(features, VISIBILITY, int, count=total) or [
        2 * bool(any(point)) for point in zip(x, y, strict=False)
    ]
    if len(y) != total or not names:
        raise ValueError(f"{POINT[0]} without {POINT[1]} or {POINT_NAME}")
    if not all(map(math.isfinite, (*x, *y))):
        raise ValueError(f"{POINT[0]} with values that are not finite")
    flat = np.stack([_pixels(x, size[1]), _pixels(y, size[0]), visibility], axis=-1)
    points, num_keypoints = [], total // count
    for start in range(0, total, num_keypoints):
        known = [name for name in names[start : start + num_keypoints] if name]  # empty names are padding
        values = flat[start : start + len(known)].ravel().tolist()
        points.append((known, [int(v) if i % 3 == 2 else v for i, v in enumerate(values)]))
    return points
