"""The complete model as one function of a fixed-size frame, built from ops that small runtimes have."""

import functools
from collections.abc import Sequence

import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.export.image_graph.geometry import zero_padding_rows
from mask_rcnn.export.writers import builtin_ops
from mask_rcnn.heads import heads_of
from mask_rcnn.layers.roi import DetectionLayer
from mask_rcnn.layers.roi_poolers import CropAndResize, RoiAlign, RoiPool
from mask_rcnn.layers.rpn import ProposalLayer
from mask_rcnn.model import Parts, inference_model
from mask_rcnn.ops import boxes as box_ops


class LiteGraph:
    """Detection in one frame of a fixed size: the graph of a TFLite or an ONNX file.

    Args:
        parts: `Parts` of `build_parts(config, kernels="portable")`.
        config: The `Config` that they were built from.
        size: (height, width) of the frame, multiples of `input.pad_multiple`.

    Attributes:
        model: The `inference_model` with the NMS, the RoI poolers and the anchors of `builtin_ops`.
        function: `detect` as a `tf.function` with its one signature.
    """

    def __init__(self, parts: Parts, config: Config, size: Sequence[int]):
        check_size(size, config.input.pad_multiple)
        self.model = inference_model(parts, config)
        self._heads = heads_of(config)
        self._anchors, self._centered = self.model.get_layer("anchors"), config.input.centered
        for layer in self.model.layers:
            if isinstance(layer, CropAndResize | RoiAlign):
                layer.align = builtin_ops.pyramid_roi_align
            elif isinstance(layer, RoiPool):
                layer.pool_maximum = builtin_ops.pyramid_roi_pool
            elif isinstance(layer, ProposalLayer):
                layer.suppress = builtin_ops.nms_per_group
            elif isinstance(layer, DetectionLayer):
                layer.suppress = builtin_ops.nms_per_class
        signature = [
            tf.TensorSpec((1, *size, config.input.channels), config.input.dtype, "image"),
            tf.TensorSpec((1, 2), tf.int32, "image_size"),
        ]
        self.function = tf.function(self.detect, signature, autograph=False)

    def detect(self, image: tf.Tensor, image_size: tf.Tensor) -> dict[str, tf.Tensor]:
        """Detects the objects in one frame.

        Args:
            image: `[1, H, W, C]`, uint8 RGB unless the config specifies another format. The frame, with the
                image in its top left corner, or in its center with `input.centered`.
            image_size: `[1, 2]` int32, (height, width) of the image in the frame. The rest is padding.

        Returns:
            Dict of float32 tensors with the names of `outputs.py` and a batch axis of size 1. Boxes are
            fractions of the image. A keypoint head gives `detection_keypoint_heatmaps` `[1, D, S, S, J]`
            instead of keypoints: logits on a grid inside the box.
        """
        size = tf.cast(image_size, tf.float32)
        zero = tf.minimum(size[0, 0], 0.0)  # see `builtin_ops.grid_anchors`
        self._anchors.grid = functools.partial(builtin_ops.grid_anchors, zero=zero)
        detections = self.model({"images": tf.cast(image, tf.float32), "image_sizes": size})
        present = tf.cast(detections["class_ids"] > 0, tf.float32)  # [1, D]
        origin = box_ops.windows(size, image.shape[1:3], self._centered)[:, :2]
        fractions = (detections["boxes"] - tf.tile(origin, [1, 2])[:, None]) / tf.tile(size, [1, 2])[:, None]
        outputs = {
            "detection_boxes": fractions * present[..., None],
            "detection_scores": detections["scores"],
            "detection_classes": tf.cast(detections["class_ids"], tf.float32),
            "num_detections": tf.reduce_sum(present, axis=1),
        }
        for head in self._heads:
            outputs |= {
                f"detection_{name}": zero_padding_rows(detections[name], present) for name in head.outputs
            }
        return outputs


def check_size(size: Sequence[int], multiple: int) -> None:
    """Raises a ValueError if the sides of a frame are not two positive multiples of `multiple`."""
    if len(size) != 2 or any(side <= 0 or side % multiple for side in size):
        rounded = " ".join(str(max(-(-side // multiple), 1) * multiple) for side in size)
        raise ValueError(
            f"`size` must be the (height, width) of the frame, multiples of {multiple}. "
            f"Received: size={tuple(size)}. Use --size {rounded}. The rest of the frame is padded."
        )
