"""Masks of run lengths as polygons, which a person can correct corner by corner."""

import cv2

from mask_rcnn.coco_results import mask_crop
from mask_rcnn.data.masks import full_mask
from mask_rcnn.formats.outlines import join, polygons_with_holes

GOOD_IOU = 0.95  # of a polygon with its mask; what has less is counted


def masks_to_polygons(content, tolerance, findings):
    """Returns a content whose objects have polygons in place of run lengths; crowd regions stay.

    Args:
        content: Content of a COCO json.
        tolerance: Largest distance between an outline and its polygon, in pixels. With 0, they cover the same
            pixels.
        findings: `Findings`; polygons that differ much from their mask are counted.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = []
    for each in content["annotations"]:
        if isinstance(each.get("segmentation"), dict) and not each["iscrowd"]:
            crop, (y, x) = mask_crop(each["segmentation"], sizes[each["image_id"]])
            polygons = crop_polygons(crop, tolerance)
            if _iou(polygons, crop) < GOOD_IOU:
                findings.repair(
                    f"polygons have an IoU below {GOOD_IOU} with their mask (a smaller `--polygons` helps)",
                    f"annotation {each['id']}",
                )
            each = {**each, "segmentation": [(polygon + (x, y)).ravel().tolist() for polygon in polygons]}
        annotations.append(each)
    return {**content, "annotations": annotations}


def crop_polygons(mask, tolerance):
    """Returns polygons `[N, 2]` (x, y) of a mask, one for each part, with its holes.

    Args:
        mask: `[H, W]` bool.
        tolerance: As in `masks_to_polygons`.
    """
    parts = polygons_with_holes(mask)
    return [join([_simplified(ring, tolerance) for ring in rings]) for rings in parts]


def _simplified(ring, tolerance):
    """Returns a ring with fewer corners (Douglas and Peucker); as it is if it would have no area."""
    if not tolerance:
        return ring
    simple = cv2.approxPolyDP(ring[:, None].astype("int32"), tolerance, True)[:, 0]
    return simple if len(simple) >= 3 else ring


def _iou(polygons, crop):
    drawn = full_mask([polygon.ravel().tolist() for polygon in polygons], *crop.shape)
    return (drawn & crop).sum() / max((drawn | crop).sum(), 1)
