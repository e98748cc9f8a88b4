"""Inclusive boxes: the far edge is the last pixel, not one past it. Needed for matterport's weights.

matterport divides the corners of a box by the index of the last pixel of the padded image, of size (H, W):
    (y1 / (H - 1), x1 / (W - 1), (y2 - 1) / (H - 1), (x2 - 1) / (W - 1)).
Deltas and IoU are ratios along an axis. They are therefore the same for (y1, x1, y2 - 1, x2 - 1) in pixels.
So one pixel is subtracted from the far edges of anchors, ground truth and windows at the start. At the end it
is added to those of the detections. Only two places need the factors H - 1 and W - 1, because they relate a
box to the image itself:
- `CropAndResize`: level of a RoI, and its position in a map;
- `data.transforms.Resize.invert_boxes`: position in the original image.
"""

from typing import Any

import keras
import tensorflow as tf

from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops.tensor import Tensor
from mask_rcnn.structures import FAR_EDGE


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MoveFarEdges(Float32Layer):
    """Converts boxes to the inclusive convention and back.

    Args:
        pixels: Added to y2 and x2. -1 converts to inclusive boxes, 1 converts back.

    Call arguments:
        boxes: `[..., 4]`, yxyx.
        class_ids: `[...]` int32. Boxes with class 0 (padding rows) stay unchanged. Defaults to None: all
            boxes are moved.

    Output shape:
        `[..., 4]`, yxyx.
    """

    def __init__(self, pixels: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pixels = pixels

    def call(self, boxes: Tensor, class_ids: Tensor | None = None) -> Tensor:
        moved = boxes + self.pixels * tf.constant(FAR_EDGE)
        return moved if class_ids is None else tf.where((class_ids != 0)[..., None], moved, boxes)

    def compute_output_spec(self, boxes: Tensor, class_ids: Tensor | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(boxes.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pixels": self.pixels}
