"""Heads that look at each detected box: masks, keypoints and those that a user registers."""

from mask_rcnn.heads.head import HEADS, Head, decode, heads_of, iou_types_of, register_head
from mask_rcnn.heads.keypoint import KeypointHead
from mask_rcnn.heads.mask import MaskHead

__all__ = ["HEADS", "Head", "KeypointHead", "MaskHead", "decode", "heads_of", "iou_types_of", "register_head"]
