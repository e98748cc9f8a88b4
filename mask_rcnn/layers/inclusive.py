"""Boxes that end on their last pixel instead of behind it: matterport's, whose weights know no others.

matterport divides the corners of a box by the last pixel of the padded image, of sides H and W:
    (y1 / (H - 1), x1 / (W - 1), (y2 - 1) / (H - 1), (x2 - 1) / (W - 1)).
Deltas and IoU are ratios along an axis, so they are the same of (y1, x1, y2 - 1, x2 - 1) in pixels. It is
enough, then, to take a pixel off the far edges of anchors, truth and windows before anything is computed
from them, and to give it back to the detections. What compares a box with the image itself, its level
and its place in a map, has the factors H - 1 and W - 1 in `CornerGrid`, what takes it to the original image
in `data.transforms.Resize.invert_boxes`.
"""

import keras
import tensorflow as tf

from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.structures import FAR_EDGE


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MoveFarEdges(Float32Layer):
    """Makes boxes inclusive, or takes them back.

    Args:
        pixels: -1 moves the far edge onto the last pixel, 1 behind it.

    Call arguments:
        boxes: `[..., 4]`, yxyx.
        class_ids: `[...]` int32, where 0 marks filling that is to stay zero; may be left out.

    Output shape:
        `[..., 4]`, yxyx.
    """

    def __init__(self, pixels, **kwargs):
        super().__init__(**kwargs)
        self.pixels = pixels

    def call(self, boxes, class_ids=None):
        moved = boxes + self.pixels * tf.constant(FAR_EDGE)
        return moved if class_ids is None else tf.where((class_ids != 0)[..., None], moved, boxes)

    def compute_output_spec(self, boxes, class_ids=None):
        return keras.KerasTensor(boxes.shape)

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels}
