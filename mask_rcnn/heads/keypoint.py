"""Keypoint head (Mask R-CNN, section 5)."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.data.transforms import Resize
from mask_rcnn.heads.head import Head, register_builtin
from mask_rcnn.layers.keypoints import KeypointHeatmaps, KeypointLoss
from mask_rcnn.networks.keypoints import keypoint_head
from mask_rcnn.ops.tensor import Tensor
from mask_rcnn.postprocessing.keypoint_decode import decode_keypoints


@register_builtin("keypoint")
class KeypointHead(Head):
    """Predicts a heatmap per keypoint for each box. Its config section is `keypoint_head`."""

    iou_type = "keypoints"
    outputs = ("keypoint_heatmaps",)

    def build(self, feature_shape: tuple[int, int, int]) -> keras.Model:
        points = self.settings
        side, _, channels = feature_shape
        return keypoint_head(
            channels,
            pool_size=side,
            convs=points.convs,
            channels=points.channels,
            num_keypoints=len(points.names),
        )

    def loss(
        self, outputs: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        loss = KeypointLoss(self.settings.loss_weight, name="keypoint_loss")
        return {"keypoint_loss": loss(outputs, positives, batch)}

    def predict(self, outputs: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        return {"keypoint_heatmaps": KeypointHeatmaps(name="keypoint_heatmaps")(outputs, boxes)}

    def decode(self, outputs: Mapping[str, np.ndarray], boxes: np.ndarray, resize: Resize) -> dict[str, Any]:
        keypoints = decode_keypoints(outputs["keypoint_heatmaps"], outputs["boxes"])
        keypoints = resize.invert_keypoints(keypoints)[..., [1, 0, 2]]  # x, y, score
        if not self.settings.half_pixel:  # the head predicts pixel indices; half a pixel more is the center
            keypoints[..., :2] += HALF_PIXEL
        return {"keypoints": keypoints}

    def class_layers(self, other: Head | None, same_classes: bool) -> set[str]:
        differs = other is not None and other.settings.names != self.settings.names
        return {"keypoint_head/deconv"} if differs else set()
