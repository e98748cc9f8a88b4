"""Converts detections to and from a `pandas.DataFrame`, with one row per object.

CSV and Parquet files can hold all of its columns.

| column | value |
|---|---|
| `class_id`, `class_name` | 1..K; the name, if categories are given |
| `score` | 0..1 |
| `x1`, `y1`, `x2`, `y2` | box, pixels, far edge not included |
| `image_height`, `image_width` | size of the image, pixels |
| `mask` | str, `counts` of COCO's compressed RLE of the whole image |
| `keypoint_0_x`, `keypoint_0_y`, `keypoint_0_score`, ... | keypoints, pixels |

Each attribute has a column. Other columns become attributes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.interop.classes import class_ids_of, class_names, import_package, resolve_image_size
from mask_rcnn.structures import Category, Detections

if TYPE_CHECKING:
    import pandas


BOX = ("y1", "x1", "y2", "x2")
SIZE = ("image_height", "image_width")
POINT = re.compile(r"keypoint_(\d+)_(x|y|score)")
POINT_FIELDS = ("x", "y", "score")


def to_pandas(detections: Detections, categories: Sequence[Category | str] | None = None) -> pandas.DataFrame:
    """Converts detections to a `pandas.DataFrame` with one row per object.

    Concatenate the frames of several images with `pandas.concat([first.assign(image="a.jpg"), ...])`, and
    split them with `groupby("image")`.

    Args:
        detections: A `Detections` of N objects.
        categories: The K `Category` records, or names, for the column `class_name`. Defaults to None, without
            names.

    Raises:
        ValueError: If an attribute has the name of another column.
        ImportError: If pandas is not installed.
    """
    pandas = import_package("pandas")
    columns: dict[str, Any] = {"class_id": detections.class_ids}
    if categories is not None:
        columns["class_name"] = class_names(detections.class_ids.tolist(), categories)
    columns["score"] = detections.scores
    for name, number in (("x1", 1), ("y1", 0), ("x2", 3), ("y2", 2)):
        columns[name] = detections.boxes[:, number]
    for name, side in zip(SIZE, detections.image_size, strict=True):
        columns[name] = np.full(len(detections), side)
    if detections.masks is not None:
        columns["mask"] = [detections.rle(i)["counts"] for i in range(len(detections))]
    if detections.keypoints is not None:
        for number in range(detections.keypoints.shape[1]):
            for axis, name in enumerate(POINT_FIELDS):
                columns[f"keypoint_{number}_{name}"] = detections.keypoints[:, number, axis]
    for name, values in detections.attributes.items():
        if name in columns:
            raise ValueError(
                "An attribute must not have the name of another column. "
                f"Received: the attribute {name!r}. Rename it."
            )
        columns[name] = values if np.ndim(values) == 1 else np.asarray(values).tolist()
    return pandas.DataFrame(columns)


def from_pandas(
    frame: pandas.DataFrame,
    image_size: tuple[int, int] | None = None,
    categories: Sequence[Category | str] | None = None,
) -> Detections:
    """Converts a `pandas.DataFrame` with the objects of one image to `Detections`.

    Args:
        frame: Columns as `to_pandas` writes them. Boxes, and `class_id` or `class_name`, are required. The
            default `score` is 1.
        image_size: (height, width), pixels. Defaults to None, the columns `image_height` and `image_width`.
        categories: The K `Category` records, or names. With them, classes are read from `class_name`.
            Defaults to None, the column `class_id`.

    Raises:
        ValueError: If columns are missing, or if the rows have different image sizes.
    """
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    missing = [name for name in BOX if name not in columns]
    if missing or not {"class_id", "class_name"} & set(columns):
        raise ValueError(
            "The frame needs the columns x1, y1, x2, y2, and class_id or class_name. "
            f"Received: columns {', '.join(map(str, columns))}. Rename them."
        )
    boxes = np.stack([columns.pop(name) for name in BOX], axis=1)
    class_ids, names = columns.pop("class_id", None), columns.pop("class_name", None)
    if names is not None and (categories is not None or class_ids is None):
        class_ids = class_ids_of(names.tolist(), _required(categories))
    size = resolve_image_size(image_size, _size(columns), "the frame")
    masks, origins = _masks(columns.pop("mask", None), size)
    scores = columns.pop("score", np.ones(len(frame)))
    keypoints = _keypoints(columns)
    columns = {name: np.stack(list(each)) if _has_rows(each) else each for name, each in columns.items()}
    return Detections(
        boxes=boxes,
        scores=scores,
        class_ids=np.asarray(class_ids, "int32"),
        image_size=size,
        masks=masks,
        mask_origins=origins,
        keypoints=keypoints,
        attributes=columns,
    )


def _required(categories):
    if categories is None:
        raise ValueError(
            "Names of classes need `categories`. Received: categories=None and no column class_id. Give them."
        )
    return categories


def _size(columns):
    """Removes the columns of the image size and returns (height, width), or None without rows or columns."""
    sides = [columns.pop(name, ()) for name in SIZE]
    if not all(map(len, sides)):
        return None
    sizes = set(zip(*(side.tolist() for side in sides), strict=True))
    if len(sizes) > 1:
        raise ValueError(
            f"The rows must be those of one image. Received: images of sizes {sorted(sizes)[:3]}. "
            "Select the rows of one image, for example with `frame.groupby`."
        )
    return sizes.pop()


def _masks(
    counts: np.ndarray | None, size: tuple[int, int]
) -> tuple[tuple[np.ndarray, ...] | None, np.ndarray | None]:
    if counts is None:
        return None, None
    crops = [mask_crop({"size": list(size), "counts": each}, size) for each in counts]
    return tuple(crop for crop, _ in crops), np.reshape([origin for _, origin in crops], (-1, 2))


def _keypoints(columns):
    """Removes the columns of keypoints and returns `[N, J, 3]`, or None without them."""
    numbers = [int(match[1]) for match in map(POINT.fullmatch, map(str, columns)) if match]
    if not numbers:
        return None
    points = [
        [columns.pop(f"keypoint_{number}_{name}") for name in POINT_FIELDS]
        for number in range(max(numbers) + 1)
    ]
    return np.moveaxis(np.array(points, "float32"), 2, 0)  # [N, J, 3]


def _has_rows(values):
    return values.dtype == object and len(values) and isinstance(values[0], list | np.ndarray)
