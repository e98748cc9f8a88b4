"""`Sample`: a training image with its objects while the transforms change it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mask_rcnn.config import KeypointHeadConfig
from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.keypoints import keypoint_array, mirrored_order
from mask_rcnn.data.masks import mask_in_box
from mask_rcnn.data.records import Annotation, ImageRecord, Segmentation

# Color of pixels that no image covers: ImageNet's mean, which is 0 after normalization, as the padding is.
FILL = (124, 116, 104)

# Kinds of objects. Crowd and ignored regions are neither positives nor negatives in training.
OBJECT, CROWD, IGNORE = range(3)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image with its N objects, and a geometric change that is not applied yet.

    Image, boxes, masks and keypoints are in the pixels of `image`. Geometric transforms only change `matrix`
    and `size`. So the pixels are resampled only once, after the last transform.

    Args:
        image: `[H, W, C]`, uint8 RGB unless `input.channels` and `input.dtype` say otherwise.
        boxes: `[N, 4]` float64, yxyx.
        class_ids: `[N]` int32, 1..K.
        kinds: `[N]` int8, `OBJECT`, `CROWD` or `IGNORE`.
        areas: `[N]` float64, areas in square pixels. If an image has too many objects, the largest are used.
        segmentations: Tuple of N masks in COCO's formats: polygons `[[x, y, x, y, ...], ...]`, a run-length
            dict, or None.
        keypoints: `[N, J, 3]` float64, (y, x, visibility). J is 0 without a keypoint head.
        mirrored_keypoints: `[J]` int, the order of the keypoints in a mirror image: left and right are
            swapped.
        matrix: `[3, 3]` float64, affine matrix from pixels of `image` to pixels of the output, see
            `data.augmentation.affine`.
        size: (height, width) of the output.
        fill: Value of each channel for pixels that no image covers. Defaults to `FILL`.
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    kinds: np.ndarray
    areas: np.ndarray
    segmentations: tuple[Segmentation | None, ...]
    keypoints: np.ndarray
    mirrored_keypoints: np.ndarray
    matrix: np.ndarray
    size: tuple[int, int]
    fill: tuple[int, ...] = FILL

    def moved(self, matrix: np.ndarray, size: Sequence[int] | np.ndarray) -> "Sample":
        """Returns the sample with one more geometric change after the earlier ones.

        Args:
            matrix: `[3, 3]`, from pixels of the current output to pixels of the new output.
            size: (height, width) of the new output.
        """
        return replace(self, matrix=matrix @ self.matrix, size=tuple(map(int, size)))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Sample":
        """Returns the sample with only the objects at `indices`, in this order."""
        indices = np.asarray(indices, int)
        return replace(
            self,
            boxes=self.boxes[indices],
            class_ids=self.class_ids[indices],
            kinds=self.kinds[indices],
            areas=self.areas[indices],
            segmentations=tuple(self.segmentations[index] for index in indices),
            keypoints=self.keypoints[indices],
        )

    @property
    def num_objects(self) -> int:
        """Number of objects to train on. After `finalize_sample`, they come before all other entries."""
        return int(np.count_nonzero(self.kinds == OBJECT))

    def output_boxes(self) -> np.ndarray:
        """Returns the boxes of all objects in the output, `[N, 4]` float64, yxyx."""
        return affine.move_boxes(self.boxes, self.matrix)

    def output_keypoints(self) -> np.ndarray:
        """Returns the keypoints of all objects in the output, `[N, J, 3]` float64, (y, x, visibility)."""
        points = affine.move_points(self.keypoints[..., :2], self.matrix)
        keypoints = np.concatenate([points, self.keypoints[..., 2:]], axis=-1)
        is_mirrored = np.linalg.det(self.matrix) < 0
        return keypoints[:, self.mirrored_keypoints] if is_mirrored else keypoints

    def output_masks(self, side: int) -> np.ndarray:
        """Returns the masks of the training objects in their output boxes, `[num_objects, side, side]` bool.

        Call it only after `finalize_sample`, when the matrix is axis-aligned. Such a matrix maps boxes to
        boxes. So each mask is rasterized in its box in `image`, and then only flipped if needed.
        """
        masks = np.zeros((self.num_objects, side, side), bool)
        for mask, box, segmentation in zip(masks, self.boxes, self.segmentations, strict=False):
            if not segmentation:
                raise ValueError(
                    "Masks need a segmentation for each training object. Received: an object without one. "
                    "Set `needs_masks` of the `GroundTruth` to True."
                )
            mask[:] = mask_in_box(segmentation, box, side)
        return masks[:, :: _sign(self.matrix[0, 0]), :: _sign(self.matrix[1, 1])]


def _sign(number):
    return -1 if number < 0 else 1


def make_sample(
    record: ImageRecord,
    image: np.ndarray,
    *,
    keypoint_head: KeypointHeadConfig | None = None,
    fill: tuple[int, ...] = FILL,
) -> Sample:
    """Returns the `Sample` of an image record and its pixels, before all transforms.

    Args:
        record: `ImageRecord`.
        image: `[H, W, C]`, the pixels.
        keypoint_head: `KeypointHeadConfig`, or None. Defaults to None.
        fill: As in `Sample`. Defaults to `FILL`.
    """
    annotations = record.annotations
    keypoints, order = np.zeros((len(annotations), 0, 3)), np.zeros(0, int)
    if keypoint_head is not None:
        order = mirrored_order(keypoint_head.names, keypoint_head.flip_pairs)
        keypoints = _keypoints(annotations, len(order), keypoint_head.half_pixel)
    return Sample(
        image=image,
        boxes=np.array([annotation.box for annotation in annotations], "float64").reshape(-1, 4),
        class_ids=np.array([annotation.class_id for annotation in annotations], "int32"),
        kinds=np.array([CROWD if annotation.crowd else OBJECT for annotation in annotations], "int8"),
        areas=np.array([annotation.area for annotation in annotations], "float64"),
        segmentations=tuple(annotation.segmentation for annotation in annotations),
        keypoints=keypoints,
        mirrored_keypoints=order,
        matrix=np.eye(3),
        size=image.shape[:2],
        fill=fill,
    )


def _keypoints(annotations: Sequence[Annotation], num_keypoints: int, half_pixel: bool) -> np.ndarray:
    """Returns `keypoint_array`, with zeros for crowd regions, whose keypoints are not used in training."""
    keypoints = np.zeros((len(annotations), num_keypoints, 3))
    objects = [index for index, annotation in enumerate(annotations) if not annotation.crowd]
    keypoints[objects] = keypoint_array([annotations[index] for index in objects], num_keypoints, half_pixel)
    return keypoints
