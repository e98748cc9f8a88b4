"""Boundary IoU: the IoU of the pixels of two masks that are close to their own contours.

Cheng, Girshick, Dollár, Berg and Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", CVPR 2021. Mask IoU is not sensitive to the contour of a large object, boundary IoU is.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.masks import encode_mask, mask_in_window

WIDTH = 0.02  # fraction of the image diagonal; section 5 of the paper


def boundary_width(image_size: Sequence[int]) -> int:
    """Returns the maximum distance of boundary pixels from the contour, in pixels, at least 1.

    Args:
        image_size: (height, width) of the image.
    """
    return max(round(WIDTH * math.hypot(*image_size)), 1)


def boundary_of(rle: dict, width: int) -> dict:
    """Returns the pixels of a mask that are at most `width` rows and columns away from a pixel outside of it.

    Pixels beyond the image count as outside of the mask.

    Args:
        rle: Compressed run lengths.
        width: Distance in pixels, from `boundary_width`.

    Returns:
        Compressed run lengths of the same size.
    """
    box = coco_mask.toBbox(rle)  # pyright: ignore[reportArgumentType], the stubs have a private type
    x, y, box_width, box_height = box.astype(int).tolist()
    if min(box_width, box_height) <= 2 * width:  # all pixels are close to the contour
        return rle
    crop = mask_in_window(rle, (y, x, y + box_height, x + box_width)).astype("uint8")
    square = np.ones((2 * width + 1, 2 * width + 1), "uint8")
    inner = cv2.erode(crop, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return encode_mask(crop > inner, (y, x), tuple(rle["size"]))
