"""The whole model as one function of a picture, from operations that small runtimes have."""

import tensorflow as tf

from mask_rcnn.export import builtin_ops
from mask_rcnn.layers.roi import DetectionLayer, RoiPool
from mask_rcnn.layers.rpn import ProposalLayer
from mask_rcnn.model import inference_model


class LiteGraph(tf.Module):
    """Detection in one picture of a fixed size, the signature of a TFLite or ONNX file.

    Args:
        parts: `Parts`, of `build_parts(config, winograd=False)`.
        config: the `Config` they were built from.
        size: (height, width) of the frame that the picture lies in, multiples of `input.pad_multiple`.
    """

    def __init__(self, parts, config, size):
        super().__init__(name="mask_rcnn")
        stride = max(config.input.pad_multiple, config.anchors.strides[-1])
        if any(side <= 0 or side % config.input.pad_multiple for side in size):
            raise ValueError(
                f"The sides of the frame must be multiples of {config.input.pad_multiple}. "
                f"Received: size={tuple(size)}. Round them up."
            )
        self.size = tuple(size)
        self.model = inference_model(parts, config)
        for layer in self.model.layers:
            if isinstance(layer, RoiPool):
                layer.align = builtin_ops.pyramid_roi_align
            elif isinstance(layer, ProposalLayer):
                layer.suppress = builtin_ops.nms_per_group
            elif isinstance(layer, DetectionLayer):
                layer.suppress = builtin_ops.nms_per_class

    def __call__(self, image, image_size):
        """Detects the objects in one picture.

        Args:
            image: `[1, H, W, 3]` uint8 RGB, the picture in its top left corner.
            image_size: `[1, 2]` int32, (height, width) of the picture.

        Returns:
            Dict of float32 tensors, named and meant as in the TensorFlow Object Detection API:
            `detection_boxes` `[1, D, 4]`, yxyx as fractions of the picture's height and width, best first;
            `detection_scores` `[1, D]` in 0..1; `detection_classes` `[1, D]`, 0 behind the last detection;
            `num_detections` `[1]`; with a mask head `detection_masks` `[1, D, M, M]`, probabilities inside
            the boxes.
        """
        size = tf.cast(image_size, tf.float32)
        found = self.model({"images": tf.cast(image, tf.float32), "image_sizes": size})
        outputs = {
            "detection_boxes": found["boxes"] / tf.tile(size, [1, 2])[:, None],
            "detection_scores": found["scores"],
            "detection_classes": tf.cast(found["class_ids"], tf.float32),
            "num_detections": tf.reduce_sum(tf.cast(found["class_ids"] > 0, tf.float32), axis=1),
        }
        if "masks" in found:
            outputs["detection_masks"] = found["masks"]
        return outputs

    def concrete(self):
        """Returns the function for its one input signature."""
        image = tf.TensorSpec((1, *self.size, 3), tf.uint8, "image")
        image_size = tf.TensorSpec((1, 2), tf.int32, "image_size")
        return tf.function(self.__call__, autograph=False).get_concrete_function(image, image_size)
