"""The complete model as one function of a fixed-size frame, built from ops that small runtimes have."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.export.image_graph.geometry import zero_padding_rows
from mask_rcnn.export.writers import builtin_ops
from mask_rcnn.heads import heads_of
from mask_rcnn.model import Parts, inference_model
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops.detection_ops import DetectionOps

# `zero` of `builtin_ops.grid_anchors` while `LiteGraph.detect` calls the model. A context variable, because a
# `keras.Model` cannot pass an extra argument to the layers inside it.
_ZERO = contextvars.ContextVar("zero")


@contextlib.contextmanager
def _anchors_from(zero: tf.Tensor) -> Iterator[None]:
    token = _ZERO.set(zero)
    try:
        yield
    finally:
        _ZERO.reset(token)


def _grid_anchors(map_size, stride, base):
    return builtin_ops.grid_anchors(map_size, stride, base, zero=_ZERO.get())


BUILTIN = DetectionOps(
    grid_anchors=_grid_anchors,
    nms_per_group=builtin_ops.nms_per_group,
    nms_per_class=builtin_ops.nms_per_class,
    pyramid_roi_align=builtin_ops.pyramid_roi_align,
    pyramid_roi_pool=builtin_ops.pyramid_roi_pool,
)


class LiteGraph:
    """Detection in one frame of a fixed size: the graph of a TFLite or an ONNX file.

    Args:
        parts: `Parts` of `build_parts(config, implementation="portable")`.
        config: The `Config` that they were built from.
        size: (height, width) of the frame, multiples of `input.pad_multiple`.

    Attributes:
        model: The `inference_model` with the NMS, the RoI poolers and the anchors of `builtin_ops`.
        function: `detect` as a `tf.function` with its one signature.
    """

    def __init__(self, parts: Parts, config: Config, size: Sequence[int]):
        check_size(size, config.input.pad_multiple)
        self.model = inference_model(parts, config, detection_ops=BUILTIN)
        self._heads, self._centered = heads_of(config), config.input.centered
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
        zero = tf.minimum(size[0, 0], 0.0)
        with _anchors_from(zero):
            detections = self.model({"images": tf.cast(image, tf.float32), "image_sizes": size})
        present = tf.cast(detections["class_ids"] > 0, tf.float32)  # [1, D]
        origin = box_ops.image_windows(size, image.shape[1:3], self._centered)[:, :2]
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
