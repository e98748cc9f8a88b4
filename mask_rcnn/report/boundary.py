"""Boundary IoU: the IoU of the pixels of two masks that lie near their own outlines.

Cheng, Girshick, Dollár, Berg and Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", CVPR 2021. Mask IoU hardly sees the outline of a large object; boundary IoU does.
"""

import math

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.masks import encode_mask, mask_in_window

WIDTH = 0.02  # of the diagonal of the image; section 5 of the paper


def boundary_width(image_size):
    """Returns how far from the outline a pixel may be, in pixels, at least 1.

    Args:
        image_size: (height, width) of the image.
    """
    return max(round(WIDTH * math.hypot(*image_size)), 1)


def boundary_of(rle, width):
    """Returns the pixels of a mask from which a pixel outside of it is at most `width` rows and columns away.

    What lies outside of the image counts as outside of the mask.

    Args:
        rle: Compressed run lengths.
        width: Pixels, as of `boundary_width`.

    Returns:
        Compressed run lengths of the same size.
    """
    x, y, box_width, box_height = coco_mask.toBbox(rle).astype(int).tolist()
    if min(box_width, box_height) <= 2 * width:  # no pixel is farther from the outline
        return rle
    crop = mask_in_window(rle, (y, x, y + box_height, x + box_width)).astype("uint8")
    square = np.ones((2 * width + 1, 2 * width + 1), "uint8")
    inner = cv2.erode(crop, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return encode_mask(crop > inner, (y, x), tuple(rle["size"]))
