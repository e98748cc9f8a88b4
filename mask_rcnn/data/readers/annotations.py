"""Checks and repairs one annotation of a COCO json; see `coco.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import UNCLEAR, are_numbers, flag, number, numbers
from mask_rcnn.data.keypoints import read_keypoints
from mask_rcnn.data.records import Segmentation
from mask_rcnn.data.segmentations import extent, pixel_area, read_segmentation, swapped_extent
from mask_rcnn.structures import Category

TOLERANCE = 3.0  # pixels, because polygons and boxes are often rounded differently

# Kinds of repairs.
NOT_THE_BOX_OF_THE_MASK = "`bbox` is not the box of the mask: both are used as they are"
OUT_OF_IMAGE = "`bbox` reached out of the image: it is clipped for training"


def read_annotation(
    entry: Mapping[str, Any], size: tuple[int, int], category: Category, *, findings: Findings
) -> dict[str, Any]:
    """Returns an annotation with all fields that training and evaluation need.

    Args:
        entry: Dict, an entry of `annotations` whose ids are already checked.
        size: (height, width) of its image.
        category: Its `Category`.
        findings: `Findings`, to which repairs and refusals are added.

    Returns:
        A new dict:
        id, image_id, category_id: Ids.
        bbox: [x, y, width, height], not clipped to the image.
        area: Area in square pixels.
        iscrowd: 0 or 1.
        segmentation: Polygons, a run-length dict, or None.
        keypoints: Flat list, or None.
        num_keypoints: Number of keypoints with a visibility above 0.

    Raises:
        ValueError: Box, mask or keypoints are invalid.
    """
    where = f"annotation {shown(entry['id'])}"
    segmentation = read_segmentation(entry.get("segmentation"), size, where=where, findings=findings)
    box = _box(entry.get("bbox"), segmentation, size, where=where, findings=findings)
    if segmentation and not _agree(box, extent(segmentation)):
        _check_box_format(segmentation, box, where)
        _check_order(segmentation, box, where)
        findings.repair(NOT_THE_BOX_OF_THE_MASK, where)
    keypoints = read_keypoints(entry.get("keypoints"), category, where=where, findings=findings)
    return {
        "id": entry["id"],
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "bbox": box,
        "area": _area(entry.get("area"), segmentation, box, size=size, where=where, findings=findings),
        "iscrowd": _crowd(entry.get("iscrowd"), where, findings),
        "segmentation": segmentation,
        "keypoints": keypoints,
        "num_keypoints": sum(visibility > 0 for visibility in keypoints[2::3]) if keypoints else 0,
    }


def _box(value, segmentation, size, *, where, findings):
    """Returns the box [x, y, width, height] of an object; it is computed from the mask if `bbox` is empty."""
    box = read_box(value, where, findings) if value else None
    if segmentation and (box is None or min(box[2:]) == 0):
        findings.repair("`bbox` was missing or empty: it was computed from the mask", where)
        x1, y1, x2, y2 = extent(segmentation)
        box = [x1, y1, x2 - x1, y2 - y1]
    y1, x1, y2, x2 = clipped(box or (0, 0, 0, 0), size)
    if box is None or y2 <= y1 or x2 <= x1:
        raise ValueError(
            "`bbox` must be [x, y, width, height] in pixels, not empty and not outside of the image. "
            f"Received: {where} with bbox={shown(value)} in an image of height={size[0]}, width={size[1]}. "
            "Correct or remove the annotation."
        )
    _check_pixels(box, where)
    x, y, width, height = box
    if max(-x, -y, x + width - size[1], y + height - size[0]) > 1:
        findings.repair(OUT_OF_IMAGE, where)
    return box


def read_box(value: object, where: str, findings: Findings) -> list[float]:
    """Returns a checked box [x, y, width, height], four finite numbers with width and height not negative.

    Args:
        value: `bbox` of an annotation or a result.
        where: Name of the entry, for messages.
        findings: `Findings`, to which repairs are added.

    Raises:
        ValueError: The box is invalid.
    """
    box = value
    if isinstance(box, list) and len(box) == 4 and not are_numbers(box):
        box = numbers(box)
        if isinstance(box, list):
            findings.repair("`bbox` had numbers as text: they were read as numbers", where)
    if not isinstance(box, list) or len(box) != 4 or not are_numbers(box) or min(box[2:]) < 0:
        raise ValueError(
            "`bbox` must be [x, y, width, height], finite numbers with width and height not negative. "
            f"Received: {where} with bbox={shown(value)}. Correct or remove it."
        )
    return box


def clipped(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns a box (x, y, width, height) as (y1, x1, y2, x2), clipped to an image of `size`."""
    (x, y, width, height), (image_height, image_width) = box, size
    return (
        max(float(y), 0.0),
        max(float(x), 0.0),
        min(float(y + height), float(image_height)),
        min(float(x + width), float(image_width)),
    )


def _check_pixels(box, where):
    """Raises a ValueError if a box lies within the first pixel: it may hold fractions of the image size."""
    x, y, width, height = box
    if max(x + width, y + height) <= 1 and min(width, height) < 1:
        raise ValueError(
            "`bbox` must be [x, y, width, height] in pixels. "
            f"Received: {where} with bbox={shown(box)}, within the first pixel of the image. "
            "If these are fractions of the size of the image, multiply boxes and polygons by it."
        )


def _check_box_format(segmentation, box, where):
    """Raises a ValueError if a box fits its mask only as (x1, y1, x2, y2)."""
    x1, y1, x2, y2 = box
    if _agree((x1, y1, x2 - x1, y2 - y1), extent(segmentation)):
        raise ValueError(
            "`bbox` must be [x, y, width, height]. "
            f"Received: {where} with bbox={shown(box)}, which fits the mask only as [x1, y1, x2, y2]. "
            "Subtract x1 and y1 from x2 and y2."
        )


def _check_order(segmentation: Segmentation, box: Sequence[float], where: str) -> None:
    """Raises a ValueError if a mask fits its box only with x and y swapped."""
    bounds = swapped_extent(segmentation)
    if bounds and _agree(box, bounds):
        is_polygon = isinstance(segmentation, list)
        raise ValueError(
            f"A polygon is [x, y, x, y, ...], and run lengths go down the columns. Received: {where}, whose "
            f"`bbox` fits only {'with y first' if is_polygon else 'with run lengths along the rows'}. "
            "Convert the masks."
        )


def _agree(box, bounds):
    """Returns whether a box [x, y, width, height] equals (x1, y1, x2, y2) within `TOLERANCE`."""
    x, y, width, height = box
    corners = (x, y, x + width, y + height)
    return all(abs(corner - bound) <= TOLERANCE for corner, bound in zip(corners, bounds, strict=True))


def _area(value, segmentation, box, *, size, where, findings):
    known = number(value)
    if known is UNCLEAR:
        findings.refuse("`area` must be a finite number", f"{where} with area={shown(value)}")
    elif known is not None and known > 0:
        if isinstance(value, str):
            findings.repair("`area` was text: it was read as a number", where)
        return known
    else:
        findings.repair("`area` was missing or not positive: it was computed from the mask or the box", where)
    return (segmentation and pixel_area(segmentation, size)) or box[2] * box[3]


def _crowd(value, where, findings):
    known = flag(value)
    if known is UNCLEAR:
        findings.refuse("`iscrowd` must be 0 or 1", f"{where} with iscrowd={shown(value)}")
    elif known is None:
        findings.repair("`iscrowd` was missing: the annotation is an object", where)
    elif type(value) is not int:
        findings.repair("`iscrowd` was not a whole number: it was read as 0 or 1", where)
    return known if known in (0, 1) else 0
