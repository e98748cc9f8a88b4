"""Masks of run lengths as polygons, which a person can correct corner by corner."""

import cv2
import numpy as np

from mask_rcnn.data.masks import full_mask
from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats.outlines import join_rings, polygons_with_holes

GOOD_IOU = 0.95  # of a polygon with its mask; what has less is counted


def masks_to_polygons(content, tolerance, findings):
    """Returns a content whose objects have polygons in place of run lengths; crowd regions stay.

    Args:
        content: Content of a COCO json.
        tolerance: Largest distance in pixels between a polygon and the line through the middles of the pixel
            sides of the outline. With 0, polygons have exactly the outline.
        findings: `Findings`; polygons that differ much from their mask are counted.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = []
    for each in content["annotations"]:
        if isinstance(each.get("segmentation"), dict) and not each["iscrowd"]:
            crop, (y, x) = mask_crop(each["segmentation"], sizes[each["image_id"]])
            polygons = mask_polygons(crop, tolerance)
            if _iou(polygons, crop) < GOOD_IOU:
                findings.repair(
                    f"polygons have an IoU below {GOOD_IOU} with their mask (a smaller `--polygons` helps)",
                    f"annotation {each['id']}",
                )
            each = {**each, "segmentation": [(polygon + (x, y)).ravel().tolist() for polygon in polygons]}
        annotations.append(each)
    return {**content, "annotations": annotations}


def mask_polygons(mask, tolerance):
    """Returns polygons `[N, 2]` (x, y) of a mask, one for each part, with its holes.

    Args:
        mask: `[H, W]` bool.
        tolerance: As in `masks_to_polygons`.
    """
    parts = polygons_with_holes(mask)
    return [join_rings([_simplified(ring, tolerance) for ring in rings]) for rings in parts]


def _simplified(ring, tolerance):
    """Returns a ring with fewer corners (Douglas and Peucker); as it is if it would have no area.

    The line through the middles of the pixel sides is simplified. Unlike the corners of stairs, they lie on
    both sides of a slanted outline alike.
    """
    if not tolerance:
        return ring
    line = _smooth_line(ring)[:, None].astype("float32")
    simple = cv2.approxPolyDP(line, tolerance, True)[:, 0]
    return simple if len(simple) >= 3 else ring


def _smooth_line(ring):
    """Returns the middles of the pixel sides along a ring, and the corners that are no stairs, `[N, 2]`.

    One of the two sides of a stair is one pixel long, so that both sides of other corners are longer.

    Args:
        ring: `[N, 2]` int, corners of horizontal and vertical lines.
    """
    steps = np.roll(ring, -1, axis=0) - ring  # [N, 2], one of both is 0
    lengths = np.abs(steps).sum(axis=1)
    units = np.repeat(np.sign(steps), lengths, axis=0)  # a row for each pixel side
    middles = ring[0] + np.cumsum(units, axis=0) - units / 2
    is_corner = np.minimum(lengths, np.roll(lengths, 1)) > 1
    return np.insert(middles, (np.cumsum(lengths) - lengths)[is_corner], ring[is_corner], axis=0)


def _iou(polygons, crop):
    drawn = full_mask([polygon.ravel().tolist() for polygon in polygons], *crop.shape)
    return (drawn & crop).sum() / max((drawn | crop).sum(), 1)
