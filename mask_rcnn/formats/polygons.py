"""Converts RLE masks to polygons, which annotation tools can edit."""

import cv2
import numpy as np

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.masks import full_mask
from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats.outlines import join_rings, polygons_with_holes

MIN_IOU = 0.95  # IoU of polygons with their mask; objects with a lower IoU are reported


def masks_to_polygons(content: dict, tolerance: float, findings: Findings) -> dict:
    """Replaces the RLE masks of a data set by polygons. The RLE masks of crowd regions are kept.

    Args:
        content: Content of a COCO JSON.
        tolerance: Maximum distance, pixels, between a polygon and the smoothed outline of the mask. With 0,
            the polygon is the exact outline.
        findings: `Findings`. Objects whose polygons have an IoU below `MIN_IOU` with the mask are added.

    Returns:
        New content of a COCO JSON.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = []
    for each in content["annotations"]:
        if isinstance(each.get("segmentation"), dict) and not each["iscrowd"]:
            crop, (y, x) = mask_crop(each["segmentation"], sizes[each["image_id"]])
            polygons = mask_polygons(crop, tolerance)
            if _iou(polygons, crop) < MIN_IOU:
                findings.repair(
                    f"polygons have an IoU below {MIN_IOU} with their mask (a smaller `--polygons` helps)",
                    f"annotation {each['id']}",
                )
            each = {**each, "segmentation": [(polygon + (x, y)).ravel().tolist() for polygon in polygons]}
        annotations.append(each)
    return {**content, "annotations": annotations}


def mask_polygons(mask: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Converts a mask to polygons, one `[N, 2]` (x, y) for each part. Holes are joined to their part.

    Args:
        mask: `[H, W]` bool.
        tolerance: As in `masks_to_polygons`.
    """
    parts = polygons_with_holes(mask)
    return [join_rings([_simplified(ring, tolerance) for ring in rings]) for rings in parts]


def _simplified(ring, tolerance):
    """Simplifies a ring (Douglas and Peucker). Returns it unchanged if no area would remain.

    The smoothed outline of `_smooth_line` is simplified. The corners of pixels would bias the result to one
    side of a slanted outline. The centers of the pixel sides do not.
    """
    if not tolerance:
        return ring
    line = _smooth_line(ring)[:, None].astype("float32")
    simple = cv2.approxPolyDP(line, tolerance, True)[:, 0]
    return simple if len(simple) >= 3 else ring


def _smooth_line(ring):
    """Returns the centers of the pixel sides along a ring, and the true corners of the outline, `[N, 2]`.

    A slanted outline consists of steps. At each corner of a step, one of the two sides is one pixel long. At
    a true corner, both sides are longer.

    Args:
        ring: `[N, 2]` int, corners of a ring of horizontal and vertical lines.
    """
    steps = np.roll(ring, -1, axis=0) - ring  # [N, 2], dx or dy is 0
    lengths = np.abs(steps).sum(axis=1)
    units = np.repeat(np.sign(steps), lengths, axis=0)  # one row per pixel side
    centers = ring[0] + np.cumsum(units, axis=0) - units / 2
    is_corner = np.minimum(lengths, np.roll(lengths, 1)) > 1
    return np.insert(centers, (np.cumsum(lengths) - lengths)[is_corner], ring[is_corner], axis=0)


def _iou(polygons, crop):
    drawn = full_mask([polygon.ravel().tolist() for polygon in polygons], *crop.shape)
    return (drawn & crop).sum() / max((drawn | crop).sum(), 1)
