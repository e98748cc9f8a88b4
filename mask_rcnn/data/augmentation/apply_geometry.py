"""Applies the geometric change of a sample: resamples the pixels and moves the objects."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.occlusion import cut_to_window
from mask_rcnn.data.augmentation.sample import Sample
from mask_rcnn.data.image_io.channels import join_channels, split_channels
from mask_rcnn.data.masks import encode_mask, full_mask, mask_in_window
from mask_rcnn.data.segmentations import extent, mask_window
from mask_rcnn.data.transforms import Resize

MASK_VALUE = np.uint8(255)  # value of mask pixels before interpolation


def apply_geometry(sample: Sample) -> Sample:
    """Applies the geometric change of a sample now, for a transform that needs the output pixels.

    Pixels are resampled with antialiasing and rounded to whole numbers. Each later geometric change resamples
    them again.

    Args:
        sample: `Sample`.

    Returns:
        A `Sample` whose image is the output. It has only the visible objects, see `cut_to_window`.
    """
    matrix, size = sample.matrix, sample.size
    if (matrix == np.eye(3)).all() and size == sample.image.shape[:2]:
        return sample
    if affine.is_transposed(matrix):
        return apply_geometry(transposed(sample))
    frame = np.array([0, 0, *size], "float64")
    segmentations = tuple(_moved_mask(each, matrix, size) for each in sample.segmentations)
    boxes = affine.move_boxes(sample.boxes, matrix)
    _fit(boxes, segmentations, frame=frame, is_axis_aligned=affine.is_axis_aligned(matrix))
    moved = replace(
        sample,
        image=render(sample, "antialiased_uint8"),
        boxes=boxes,
        areas=sample.areas * affine.scale(matrix) ** 2,
        segmentations=segmentations,
        keypoints=sample.output_keypoints(),
        matrix=np.eye(3),
    )
    return cut_to_window(moved, frame, sample, scale=affine.scale(matrix))


def transposed(sample: Sample) -> Sample:
    """Returns the sample with y and x of its image swapped; the output stays the same."""
    segmentations = tuple(_transposed_mask(each) for each in sample.segmentations)
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image.swapaxes(0, 1)),
        boxes=sample.boxes[:, [1, 0, 3, 2]],
        segmentations=segmentations,
        # The swap changes the sign of the determinant of `matrix`, so `output_keypoints` swaps left and right
        # once more or once less. This order compensates for it.
        keypoints=sample.keypoints[:, sample.mirrored_keypoints][..., [1, 0, 2]],
        matrix=sample.matrix @ affine.transpose(),
    )


def render(sample: Sample, method: str) -> np.ndarray:
    """Returns the pixels of the output.

    Args:
        sample: `Sample`.
        method: As in `InputConfig.resize`. It is used if the whole image is only resized and flipped. For any
            other change, pixels are resampled with antialiasing and rounded to whole numbers.

    Returns:
        `[*sample.size, C]` with the dtype of the image, or float32 if "bilinear" gives fractions.
    """
    height, width = sample.image.shape[:2]
    frame = affine.move_boxes([0, 0, height, width], sample.matrix)[0]
    fills_output = np.allclose(frame, (0, 0, *sample.size), atol=1e-6)
    if fills_output and affine.is_axis_aligned(sample.matrix):
        image = sample.image
        for axis in (0, 1):
            image = cv2.flip(image, axis).reshape(image.shape) if sample.matrix[axis, axis] < 0 else image
        dtype = "float32" if method == "bilinear" else image.dtype
        return Resize((height, width), sample.size).apply(image, method, dtype)
    return warp(sample.image, sample.matrix, sample.size, fill=sample.fill)


def warp(
    image: np.ndarray, matrix: np.ndarray, size: Sequence[int], *, fill: float | Sequence[float] = 0
) -> np.ndarray:
    """Warps an image by any affine matrix, with antialiasing.

    Args:
        image: `[H, W, C]` or `[H, W]`, uint8 or uint16.
        matrix: `[3, 3]`, from pixels of the image to pixels of the output.
        size: (height, width) of the output.
        fill: Value of each channel for pixels outside of the image. Defaults to 0.

    Returns:
        `[*size, C]` or `[*size]` of the same dtype.
    """
    if image.ndim == 3 and image.shape[-1] != 3:
        parts = zip(split_channels(image), split_channels(np.reshape(fill, (1, 1, -1))), strict=True)
        return join_channels(warp(part, matrix, size, fill=values.ravel().tolist()) for part, values in parts)
    height, width = image.shape[:2]
    scale = affine.scale(matrix)
    if scale < 1:  # averages pixels first, because interpolation alone would skip some
        reduced = max(1, round(height * scale)), max(1, round(width * scale))
        image = cv2.resize(image, reduced[::-1], interpolation=cv2.INTER_AREA)
        matrix = matrix @ affine.scaling(height / reduced[0], width / reduced[1])
    # In OpenCV, (0, 0) is the center of the first pixel, and x comes before y.
    matrix = affine.translation(-0.5, -0.5) @ matrix @ affine.translation(0.5, 0.5)
    matrix = matrix[np.ix_([1, 0, 2], [1, 0, 2])]
    return cv2.warpAffine(
        image, matrix[:2], tuple(map(int, size))[::-1], flags=cv2.INTER_LINEAR, borderValue=fill
    )


def _moved_mask(segmentation, matrix, size):
    """Returns a mask moved by a matrix. Run lengths are cropped to an output of `size`, polygons are not."""
    if not segmentation:
        return None
    if not isinstance(segmentation, dict):
        return [
            affine.move_points(np.reshape(polygon, (-1, 2))[:, ::-1], matrix)[:, ::-1].ravel().tolist()
            for polygon in segmentation
        ]
    window = mask_window(segmentation, segmentation["size"])
    y, x, bottom, right = affine.move_boxes(window, matrix)[0]
    top_left = np.clip(np.floor([y, x]).astype(int) - 1, 0, size)
    bottom_right = np.clip(np.ceil([bottom, right]).astype(int) + 1, top_left, size)
    moved = np.zeros(bottom_right - top_left, bool)
    mask = mask_in_window(segmentation, window)
    if moved.size and mask.size:
        local = affine.translation(*-top_left) @ matrix @ affine.translation(*window[:2])
        moved = warp(mask * MASK_VALUE, local, moved.shape) >= 128
    return encode_mask(moved, top_left.tolist(), size)


def _transposed_mask(segmentation):
    if isinstance(segmentation, dict):
        return encode_mask(full_mask(segmentation, *segmentation["size"]).T)
    return segmentation and [np.reshape(each, (-1, 2))[:, ::-1].ravel().tolist() for each in segmentation]


def _fit(boxes, segmentations, *, frame, is_axis_aligned):
    """Fits boxes to their moved masks, in-place.

    Boxes of rotated or sheared masks become tight. A mask that is too small for a single pixel gets a box
    without area. A run-length mask that the frame may have cropped keeps its box, so that `cut_to_window` can
    detect the crop.
    """
    for index, segmentation in enumerate(segmentations):
        if not segmentation:
            continue
        x1, y1, x2, y2 = extent(segmentation)
        has_runs = isinstance(segmentation, dict)
        inside = (boxes[index, :2] >= frame[:2]).all() and (boxes[index, 2:] <= frame[2:]).all()
        is_turned = not is_axis_aligned and (inside or not has_runs)
        if is_turned or (has_runs and x1 == x2):
            boxes[index] = y1, x1, y2, x2
