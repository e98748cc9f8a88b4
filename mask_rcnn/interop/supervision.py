"""Converts detections to and from `supervision.Detections` of Roboflow's package supervision.

Conventions of supervision 0.31: boxes are `xyxy`. `class_id` counts from 0, as an index into a list of names,
and not from 1 as in `mask_rcnn`. `data` has arrays with one row per object; class names are in
`data["class_name"]`. There is no field for the size of the image, so it is stored in
`metadata["image_size"]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mask_rcnn.interop.classes import class_ids_of, class_names, import_package, resolve_image_size
from mask_rcnn.structures import Category, Detections, smallest_crop

if TYPE_CHECKING:
    import supervision


NAME, KEYPOINTS, SIZE, TRACKER = "class_name", "keypoints", "image_size", "tracker_id"


def to_supervision(
    detections: Detections, categories: Sequence[Category | str] | None = None, compact_masks: bool = False
) -> supervision.Detections:
    """Converts detections to `supervision.Detections`.

    Args:
        detections: A `Detections` of N objects.
        categories: The K `Category` records, or names, for `data["class_name"]`. Defaults to None, without
            names.
        compact_masks: Whether masks are a `supervision.CompactMask`, which saves memory for large images.
            Defaults to False: a `[N, H, W]` bool array, which all annotators support.

    Returns:
        A `supervision.Detections` with `class_id` 0..K-1. Keypoints `[N, J, 3]` and attributes are in `data`,
        except the attribute `tracker_id`, which has a field of its own.
    """
    supervision = import_package("supervision")
    data = {name: np.asarray(values) for name, values in detections.attributes.items()}
    tracker = data.pop(TRACKER, None)
    if detections.keypoints is not None:
        data[KEYPOINTS] = detections.keypoints
    if categories is not None:
        data[NAME] = np.array(class_names(detections.class_ids.tolist(), categories), dtype=np.str_)
    return supervision.Detections(
        xyxy=detections.boxes[:, [1, 0, 3, 2]],
        mask=_masks(detections, compact=compact_masks, supervision=supervision),
        confidence=detections.scores,
        class_id=detections.class_ids.astype(int) - 1,
        tracker_id=tracker,
        data=data,
        metadata={SIZE: detections.image_size},
    )


def _masks(detections, *, compact, supervision):
    if detections.masks is None:
        return None
    size, count = detections.image_size, len(detections)
    if not compact:
        return (
            np.stack([detections.full_mask(i) for i in range(count)]) if count else np.zeros((0, *size), bool)
        )
    sides = np.array([mask.shape for mask in detections.masks], int).reshape(-1, 2)
    first = detections.mask_origins
    last = np.maximum(first + sides - 1, first)  # index of the last pixel; one pixel for an empty mask
    boxes = np.concatenate([first[:, ::-1], last[:, ::-1]], axis=1).astype("float32")
    rles = [detections.rle(i) for i in range(count)]
    return supervision.CompactMask.from_coco_rle(rles, boxes, size)


def from_supervision(
    detections: supervision.Detections,
    image_size: tuple[int, int] | None = None,
    categories: Sequence[Category | str] | None = None,
) -> Detections:
    """Converts `supervision.Detections` to `Detections`.

    Args:
        detections: A `supervision.Detections` with `class_id`. The default `confidence` is 1.
        image_size: (height, width), pixels. Defaults to None, the size of the masks or
            `metadata["image_size"]`.
        categories: The K `Category` records, or names. With them, classes are read from `data["class_name"]`.
            Defaults to None, `class_id` plus 1.

    Returns:
        `Detections`. Other entries of `data` besides names and keypoints become attributes, as does
        `tracker_id`.

    Raises:
        ValueError: If there are no classes, or if the size of the image is unknown.
    """
    data = {name: np.asarray(values) for name, values in detections.data.items()}
    names, keypoints = data.pop(NAME, None), data.pop(KEYPOINTS, None)
    if categories is not None and names is not None:
        class_ids = np.array(class_ids_of(names.tolist(), categories), "int32")
    elif detections.class_id is not None:
        class_ids = np.asarray(detections.class_id) + 1
    else:
        raise ValueError("`class_id` is needed. Received: class_id=None. Set it, 0 for the first class.")
    if detections.tracker_id is not None:
        data[TRACKER] = detections.tracker_id
    mask, count = detections.mask, len(detections)
    stored = detections.metadata.get(SIZE) if mask is None else mask.shape[1:]
    size = resolve_image_size(
        image_size, stored, "supervision.Detections without masks" if mask is None else "the masks"
    )
    crops = None if mask is None else [_crop(mask, i) for i in range(count)]
    return Detections(
        boxes=np.reshape(detections.xyxy, (-1, 4))[:, [1, 0, 3, 2]],
        scores=np.ones(count) if detections.confidence is None else detections.confidence,
        class_ids=class_ids,
        image_size=size,
        masks=None if crops is None else tuple(crop for crop, _ in crops),
        mask_origins=None if crops is None else np.reshape([origin for _, origin in crops], (-1, 2)),
        keypoints=keypoints,
        attributes=data,
    )


def _crop(mask, i):
    """Returns the smallest crop of a mask and its (y, x), without expanding a `CompactMask` to the image."""
    if hasattr(mask, "crop"):
        return smallest_crop(mask.crop(i), mask.offsets[i].tolist()[::-1])
    return smallest_crop(np.asarray(mask[i], bool))
