"""After the last transform: what is visible, which objects are learned, and the pixels."""

from dataclasses import replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data import affine
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.sample import IGNORE, OBJECT
from mask_rcnn.data.transforms import Resize


def finish(sample, max_instances, needs_mask):
    """Removes what is outside of the output and orders the objects for training.

    Args:
        sample: a `Sample` after all transforms.
        max_instances: largest number of objects to learn. Smaller objects become ignored regions.
        needs_mask: whether an object without a mask is an ignored region.

    Returns:
        A `Sample` with an axis-aligned matrix: first the objects to learn, then smaller objects, then crowds
        and ignored regions, each by decreasing area. Boxes are clipped to what is visible.
    """
    if not affine.is_axis_aligned(sample.matrix):
        sample = _straightened(sample)
    sample = _visible(sample)
    has_mask = np.array([bool(each) for each in sample.segmentations], bool)
    is_object = (sample.kinds == OBJECT) & (has_mask | (not needs_mask))
    by_area = np.argsort(-sample.areas, kind="stable")
    objects, others = by_area[is_object[by_area]], by_area[~is_object[by_area]]
    kinds = sample.kinds.copy()
    kinds[[*objects[max_instances:], *others[kinds[others] == OBJECT]]] = IGNORE
    return replace(sample, kinds=kinds).select([*objects, *others])


def render(sample, method):
    """Returns the pixels of the output.

    Args:
        sample: a `Sample` with an axis-aligned matrix.
        method: As in `InputConfig.resize`; for a whole image that is only resized and mirrored. Others are
            resampled with antialiasing, to whole numbers.

    Returns:
        `[*sample.size, 3]`, uint8, or float32 where "bilinear" leaves fractions of gray levels.
    """
    height, width = sample.image.shape[:2]
    whole = affine.move_boxes([0, 0, height, width], sample.matrix)[0]
    if np.allclose(whole, (0, 0, *sample.size), atol=1e-6):
        image = sample.image
        for axis in (0, 1):
            image = cv2.flip(image, axis) if sample.matrix[axis, axis] < 0 else image
        dtype = "float32" if method == "bilinear" else "uint8"
        return Resize((height, width), sample.size).apply(image, method, dtype)
    return warp(sample.image, sample.matrix, sample.size)


def warp(image, matrix, size):
    """Moves an image by any affine matrix; pixels that nothing covers are black.

    Args:
        image: `[H, W, 3]` uint8.
        matrix: `[3, 3]`, from pixels of the image to pixels of the output.
        size: (height, width) of the output.

    Returns:
        `[*size, 3]` uint8.
    """
    height, width = image.shape[:2]
    scale = np.sqrt(abs(np.linalg.det(matrix)))
    if scale < 1:  # reduced by the mean of the pixels first: interpolation alone would skip some
        reduced = max(1, round(height * scale)), max(1, round(width * scale))
        image = cv2.resize(image, reduced[::-1], interpolation=cv2.INTER_AREA)
        matrix = matrix @ affine.scaling(height / reduced[0], width / reduced[1])
    # OpenCV's (0, 0) is the center of the first pixel, and x comes first.
    matrix = affine.translation(-0.5, -0.5) @ matrix @ affine.translation(0.5, 0.5)
    matrix = matrix[np.ix_([1, 0, 2], [1, 0, 2])]
    return cv2.warpAffine(image, matrix[:2], tuple(map(int, size))[::-1], flags=cv2.INTER_LINEAR)


def _visible(sample):
    """Clips boxes to the part of the image that the output shows; removes objects that are not in it."""
    height, width = sample.image.shape[:2]
    window = affine.move_boxes([0, 0, *sample.size], np.linalg.inv(sample.matrix))[0]
    if (window[:2] <= 1e-6).all() and (window[2:] >= (height - 1e-6, width - 1e-6)).all():
        return sample
    boxes = np.concatenate(
        [np.maximum(sample.boxes[:, :2], window[:2]), np.minimum(sample.boxes[:, 2:], window[2:])], axis=1
    )
    for index in np.flatnonzero(
        (boxes != sample.boxes).any(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    ):
        if sample.segmentations[index]:
            boxes[index] = _visible_box(sample.segmentations[index], boxes[index])
    points, visibility = sample.keypoints[..., :2], sample.keypoints[..., 2:]
    is_inside = ((points >= window[:2]) & (points < window[2:])).all(axis=-1, keepdims=True)
    keypoints = np.concatenate([points, visibility * is_inside], axis=-1)
    keep = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return replace(sample, boxes=boxes, keypoints=keypoints).select(keep)


def _visible_box(segmentation, box):
    """Returns the box of the part of a mask that is inside of `box`, to a pixel; without area if none."""
    y, x = np.floor(box[:2]).astype(int)
    height, width = np.ceil(box[2:]).astype(int) - (y, x)
    if isinstance(segmentation, dict):
        mask = full_mask(segmentation, *segmentation["size"])[y : y + height, x : x + width]
    else:
        polygons = [(np.reshape(polygon, (-1, 2)) - (x, y)).ravel().tolist() for polygon in segmentation]
        mask = full_mask(polygons, height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.zeros(4)
    tight = np.array([y + rows[0], x + columns[0], y + rows[-1] + 1, x + columns[-1] + 1])
    return np.concatenate([np.maximum(tight[:2], box[:2]), np.minimum(tight[2:], box[2:])])


def _straightened(sample):
    """Applies a matrix that turns or shears to the image and its objects; the identity is left."""
    segmentations = tuple(_moved_mask(each, sample.matrix, sample.size) for each in sample.segmentations)
    boxes = affine.move_boxes(sample.boxes, sample.matrix)
    for index, segmentation in enumerate(segmentations):
        if segmentation:
            boxes[index] = _extent(segmentation)
    return replace(
        sample,
        image=warp(sample.image, sample.matrix, sample.size),
        boxes=boxes,
        segmentations=segmentations,
        keypoints=sample.output_keypoints(),
        matrix=np.eye(3),
    )


def _moved_mask(segmentation, matrix, size):
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        mask = full_mask(segmentation, *segmentation["size"]).astype("uint8")
        moved = warp(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), matrix, size)[..., 0] >= 128
        run_lengths = coco_mask.encode(np.asfortranarray(moved.astype("uint8")))
        return {"size": list(size), "counts": run_lengths["counts"].decode("ascii")}
    points = [np.reshape(polygon, (-1, 2))[:, ::-1] for polygon in segmentation]
    return [affine.move_points(each, matrix)[:, ::-1].ravel().tolist() for each in points]


def _extent(segmentation):
    """Returns the yxyx box of a mask; without area where no pixel is set."""
    if isinstance(segmentation, dict):
        x, y, width, height = coco_mask.toBbox(segmentation)
        return y, x, y + height, x + width
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
    return [*points.min(axis=0)[::-1], *points.max(axis=0)[::-1]]
