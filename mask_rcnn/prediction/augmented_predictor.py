"""Test-time augmentation: detects resized and mirrored versions of an image and merges the detections."""

from collections.abc import Hashable, Sequence

import numpy as np

from mask_rcnn.data.keypoints import mirrored_order
from mask_rcnn.postprocessing.augmentation_merge import merge_views, mirror_detections
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.structures import Detections


class AugmentedPredictor(ImagePredictor):
    """Detects objects in several views of each image and merges the detections by `merge_views`.

    Each scale takes the time of an image of this size, and twice that with `horizontal_flip`. It can
    replace any `ImagePredictor`, also inside a `TiledPredictor`.

    Args:
        predictor: `ImagePredictor`, of weights or of an exported model. An exported model resizes images
            itself, so its only scale is 1.
        scales: Sequence of floats: the sizes of the views, as multiples of `input.short_side` and
            `input.long_side` of the config. Defaults to `(1.0,)`.
        horizontal_flip: Whether to also detect each view mirrored from left to right. Defaults to True.

    Raises:
        ValueError: If `scales` is empty or contains a number twice or one that is not positive.

    Example:

    >>> predictor = AugmentedPredictor(mask_rcnn.load("best.weights.h5"), (0.75, 1.0, 1.25))  # doctest: +SKIP
    >>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
    """

    def __init__(
        self, predictor: ImagePredictor, scales: Sequence[float] = (1.0,), horizontal_flip: bool = True
    ):
        if not scales or min(scales) <= 0 or len(set(scales)) < len(scales):
            raise ValueError(
                "`scales` must be different numbers above 0, such as (0.75, 1.0, 1.25). "
                f"Received: scales={tuple(scales)}. Give each scale once."
            )
        self.predictor, self.max_pixels = predictor, predictor.max_pixels
        self.config, self.categories = predictor.config, predictor.categories
        flips = (False, True) if horizontal_flip else (False,)
        self._views = [(predictor.scaled(scale), flip) for scale in scales for flip in flips]
        points = self.config.keypoint_head
        self._keypoint_order = points and mirrored_order(points.names, points.flip_pairs)

    def default_batch_size(self) -> int:
        """Returns the batch size of the wrapped predictor, which is fast on this machine."""
        return self.predictor.default_batch_size()

    def batch_key(self, image_size: tuple[int, int]) -> Hashable:
        """Returns the batch keys of all views, or None if a view must be a batch of its own."""
        keys = tuple(view.batch_key(image_size) for view, _ in self._views)
        return None if None in keys else keys

    def preprocess(self, image: np.ndarray) -> tuple[tuple, tuple]:
        """Prepares all views of one image for the model.

        Args:
            image: `[H, W, C]`, see `ImagePredictor.preprocess`.

        Returns:
            Tuple (inputs, resizes). Both are tuples with one item per view, see `ImagePredictor.preprocess`.
        """
        mirrored = np.ascontiguousarray(image[:, ::-1])
        prepared = [view.preprocess(mirrored if flip else image) for view, flip in self._views]
        inputs, resizes = zip(*prepared, strict=True)
        return inputs, resizes

    def detect_batch(self, inputs: list[tuple]) -> list[tuple]:
        """Runs the model on each view of a batch. Returns a list with a tuple of outputs per image."""
        outputs = [
            view.detect_batch([views[number] for views in inputs])
            for number, (view, _) in enumerate(self._views)
        ]
        return list(zip(*outputs, strict=True))

    def postprocess(self, outputs: tuple, resize: tuple, score_threshold: float = 0.0) -> Detections:
        """Returns the merged `Detections` of the views of one image, see `ImagePredictor.postprocess`."""
        view_detections = []
        for (view, flip), view_outputs, view_resize in zip(self._views, outputs, resize, strict=True):
            detections = view.postprocess(view_outputs, view_resize)
            view_detections.append(
                mirror_detections(detections, self._keypoint_order) if flip else detections
            )
        head = self.config.box_head
        merged = merge_views(view_detections, head.nms_iou, head.max_detections)
        return merged.select(~(merged.scores < score_threshold))
