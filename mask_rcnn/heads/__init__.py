"""Heads that predict something for each detected box: masks, keypoints and registered user heads."""

from mask_rcnn.heads.head import HEADS, Head, decode, heads_of, iou_types_of, register_head
from mask_rcnn.heads.keypoint import KeypointHead
from mask_rcnn.heads.mask import MaskHead

__all__ = ["HEADS", "Head", "KeypointHead", "MaskHead", "decode", "heads_of", "iou_types_of", "register_head"]
