"""An image in, its objects out: the model with everything around it."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from mask_rcnn.data.images import read_image
from mask_rcnn.data.keypoints import HALF_PIXEL
from mask_rcnn.data.transforms import Resize, input_size, pad_image, padded_size, padding_origin
from mask_rcnn.keypoint_decode import decode_keypoints
from mask_rcnn.model import build_parts, dtype_policy, inference_model
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.paste import paste_masks
from mask_rcnn.structures import Detections
from mask_rcnn.weights import load_weights, read_header

MAX_ARRAY_PIXELS = 1 << 30  # 3 GB, which TensorFlow copies


class Predictor:
    """Finds the objects in images of any size.

    Args:
        parts: `Parts` with their weights.
        config: the `Config` they were built from.
        categories: tuple of `Category`; class id i is `categories[i - 1]`.

    Attributes:
        parts: as given; `inference_model(parts, config, intermediates=True)` shows what lies between.
        model: the `inference_model`; `detect` is the same, compiled.

    Example:

    >>> predictor = mask_rcnn.load("runs/fruits/best.weights.h5")  # doctest: +SKIP
    >>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
    >>> picture = mask_rcnn.draw("photo.jpg", detections, predictor.categories)  # doctest: +SKIP
    """

    def __init__(self, parts, config, categories):
        if len(categories) != config.num_classes:
            raise ValueError(
                "A model needs one category for each of its classes. "
                f"Received: {len(categories)} categories, num_classes={config.num_classes}."
            )
        self.parts, self.config = parts, config
        self.categories = tuple(categories)
        self.model = inference_model(parts, config)
        # Nothing in it is Python that AutoGraph would have to rewrite.
        self.detect = tf.function(self.model, autograph=False, reduce_retracing=True)

    @classmethod
    def load(cls, path, precision="float32", kernels=None):
        """Returns the predictor of a weights file, which carries its config and categories.

        Args:
            path: file of `save_weights`; or a name of `mask-rcnn models list`, fetched when first used.
            precision: Keras dtype policy to compute in; "mixed_bfloat16" is fast where the hardware has it.
            kernels: as in `build_parts`; "portable" is for a model that is to be exported.
        """
        path = weights_file(path)
        config, categories = read_header(path)
        with dtype_policy(precision):
            parts = build_parts(config, kernels)
            load_weights(path, parts)
            return cls(parts, config, categories)

    def predict(self, image):
        """Finds the objects in one image.

        Args:
            image: `[H, W, 3]` uint8 RGB array, or the path of an image file.

        Returns:
            `Detections` in the pixels of the image, best first.
        """
        bit_depth = self.config.input.bit_depth
        image = read_image(image, bit_depth) if isinstance(image, (str, Path)) else checked_image(image)
        batch, resize = self.preprocess(image)
        return self.postprocess(self.detect(batch), resize)

    def preprocess(self, image):
        """Resizes and pads an image for the model.

        Args:
            image: `[H, W, 3]` uint8 RGB.

        Returns:
            The input dict of the model, a batch of one, and the `Resize` that undoes it.
        """
        settings = self.config.input
        size = input_size(image.shape[:2], settings.short_side, settings)
        padded = padded_size(size, settings.pad_multiple, settings.padded_size)
        resize = Resize(image.shape[:2], size, padding_origin(size, padded, settings.centered))
        dtype = self.model.input["images"].dtype
        pixels = pad_image(resize.apply(image, settings.resize, dtype), padded, resize.origin)
        return {"images": pixels[None], "image_sizes": tf.constant([size], tf.float32)}, resize

    def postprocess(self, outputs, resize):
        """Takes the model's output for one image back to the pixels of that image.

        Args:
            outputs: output dict of the model, a batch of one.
            resize: the `Resize` of `preprocess`.

        Returns:
            `Detections`.
        """
        class_ids = outputs["class_ids"][0].numpy()
        count = np.count_nonzero(class_ids)
        boxes = resize.invert_boxes(outputs["boxes"][0, :count].numpy(), self.config.inclusive_boxes)
        masks, origins = None, None
        if "masks" in outputs:
            probabilities = outputs["masks"][0, :count].numpy()
            masks, origins = paste_masks(probabilities, boxes, resize.original, self.config.mask_head.paste)
        return Detections(
            boxes=boxes,
            scores=outputs["scores"][0, :count].numpy(),
            class_ids=class_ids[:count],
            image_size=resize.original,
            masks=masks,
            mask_origins=origins,
            keypoints=self.keypoints(outputs, count, resize) if "keypoint_heatmaps" in outputs else None,
        )

    def keypoints(self, outputs, count, resize):
        """Returns the keypoints of the first `count` detections, `[count, J, 3]`, (x, y, score)."""
        boxes = outputs["boxes"][0, :count].numpy()
        keypoints = decode_keypoints(outputs["keypoint_heatmaps"][0, :count].numpy(), boxes)
        keypoints = resize.invert_keypoints(keypoints)[..., [1, 0, 2]]
        if not self.config.keypoint_head.half_pixel:  # the numbers of pixels, not yet their centres
            keypoints[..., :2] += HALF_PIXEL
        return keypoints


load = Predictor.load


def checked_image(image):
    """Returns an image that the user gave as uint8 array `[H, W, 3]`; a clear error if it is not one."""
    image = np.asarray(image)
    shape_fits = image.ndim == 3 and image.shape[-1] == 3 and image.size
    if image.dtype != np.uint8 or not shape_fits or image.size > 3 * MAX_ARRAY_PIXELS:
        raise ValueError(
            "An image must be an RGB array [H, W, 3] of uint8. "
            f"Received: shape={image.shape}, dtype={image.dtype}. {_conversion(image)} "
            "`mask_rcnn.data.images.read_image` reads files; OpenCV's images are BGR: use image[..., ::-1]."
        )
    return image


def _conversion(image):
    """Returns what turns an array into an image: the first step, if it takes several."""
    if image.ndim not in (2, 3):
        return "Give one image, not a batch, a path or a list of them."
    if not image.size:
        return "It has no pixels."
    if image.size > 3 * MAX_ARRAY_PIXELS:
        return f"It has more than {MAX_ARRAY_PIXELS} pixels: cut it into tiles."
    if image.ndim == 2 or image.shape[-1] == 1:
        return "Repeat a gray image: np.stack([image] * 3, axis=-1) of [H, W]."
    if image.shape[-1] == 4:
        return "Drop the alpha channel: image[..., :3]."
    if image.shape[-1] != 3:
        return "Put the channels last: image.transpose(1, 2, 0) of [3, H, W]."
    if image.dtype.kind == "f":
        return _float_conversion(image)
    if image.dtype == np.uint16:
        return "Keep the upper 8 bits that are used: (image >> 4).astype('uint8') of 12 bits."
    return "If the values are 0..255: image.astype('uint8')."


def _float_conversion(image):
    if not np.isfinite(image).all():
        return "Replace the values that are NaN or infinite."
    if image.max() <= 1:
        return "If the values are 0..1: (image * 255).round().astype('uint8')."
    return "If the values are 0..255: image.round().astype('uint8')."
