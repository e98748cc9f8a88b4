"""Test-time augmentation: images are detected in several sizes and mirrored, and detections are merged."""

import numpy as np

from mask_rcnn.augmentation_merge import merge_views, mirror
from mask_rcnn.data.keypoints import mirrored_order
from mask_rcnn.image_predictor import ImagePredictor


class AugmentedPredictor(ImagePredictor):
    """Finds the objects in several views of each image, and merges what was found; see `merge_views`.

    The time is that of `len(scales)` images, twice of it with `horizontal_flip`. It takes the place of an
    `ImagePredictor` wherever images are detected, also in a `TiledPredictor`.

    Args:
        predictor: An `ImagePredictor`, of weights or of an exported model. An exported model resizes images
            itself, so that its only scale is 1.
        scales: Sizes of the views, as multiples of `input.short_side` and `input.long_side`. Defaults to the
            usual size alone.
        horizontal_flip: Whether each view is detected mirrored, too. Defaults to True.

    Example:

    >>> predictor = AugmentedPredictor(mask_rcnn.load("best.weights.h5"), (0.75, 1.0, 1.25))  # doctest: +SKIP
    >>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
    """

    def __init__(self, predictor, scales=(1.0,), horizontal_flip=True):
        if not scales or min(scales) <= 0 or len(set(scales)) < len(scales):
            raise ValueError(
                "`scales` must be different numbers above 0, such as (0.75, 1.0, 1.25). "
                f"Received: scales={tuple(scales)}. Correct them."
            )
        self.predictor, self.max_pixels = predictor, predictor.max_pixels
        self.config, self.categories = predictor.config, predictor.categories
        flips = (False, True) if horizontal_flip else (False,)
        self._views = [(predictor.scaled(scale), flip) for scale in scales for flip in flips]
        points = self.config.keypoint_head
        self._keypoint_order = points and mirrored_order(points.names, points.flip_pairs)

    def default_batch_size(self):
        return self.predictor.default_batch_size()

    def batch_key(self, image_size):
        keys = tuple(view.batch_key(image_size) for view, _ in self._views)
        return None if None in keys else keys

    def preprocess(self, image):
        """Returns the inputs of all views, and what `postprocess` needs of each.

        Args:
            image: `[H, W, C]`.
        """
        mirrored = np.ascontiguousarray(image[:, ::-1])
        prepared = [view.preprocess(mirrored if flip else image) for view, flip in self._views]
        inputs, resizes = zip(*prepared, strict=True)
        return inputs, resizes

    def detect_batch(self, inputs):
        outputs = [
            view.detect_batch([each[number] for each in inputs])
            for number, (view, _) in enumerate(self._views)
        ]
        return list(zip(*outputs, strict=True))  # for each image the outputs of its views

    def postprocess(self, outputs, resize, score_threshold=0.0):
        found = []
        for (view, flip), each, undo in zip(self._views, outputs, resize, strict=True):
            detections = view.postprocess(each, undo)
            found.append(mirror(detections, self._keypoint_order) if flip else detections)
        head = self.config.box_head
        merged = merge_views(found, head.nms_iou, head.max_detections)
        return merged.keep(~(merged.scores < score_threshold))
