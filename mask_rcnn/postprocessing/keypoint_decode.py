"""Converts keypoint heatmaps to keypoints.

A heatmap has 56 x 56 cells, whatever the size of its box. It is resized to the pixels of the box before its
maximum is located. Otherwise the keypoints of large objects would jump from cell to cell. torchvision and
detectron2 do the same, in the resized image.

Letters: N detections, S side of the heatmaps, J keypoints.
"""

import cv2
import numpy as np


def decode_keypoints(heatmaps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the keypoints of N detections.

    Args:
        heatmaps: `[N, S, S, J]`, logits. Each heatmap covers its box.
        boxes: `[N, 4]`, yxyx.

    Returns:
        `[N, J, 3]` float32, (y, x, score), in the coordinates of the boxes. The position is the center of the
        pixel with the maximum of the resized heatmap. The score is the softmax probability over the S * S
        cells at that position. Due to interpolation it can be slightly above 1.
    """
    keypoints = [_decode(logits, box) for logits, box in zip(heatmaps, boxes, strict=True)]
    return np.reshape(keypoints, (-1, heatmaps.shape[-1], 3)).astype("float32")


def _decode(logits, box):
    """Returns the keypoints `[J, 3]` float64 of one detection, from `logits` `[S, S, J]` and `box` `[4]`."""
    origin, size = np.split(np.asarray(box, "float64"), 2)
    size = np.maximum(size - origin, 1)
    height, width = np.ceil(size).astype(int).tolist()
    planes = np.ascontiguousarray(np.moveaxis(logits, -1, 0), "float32")  # [J, S, S]
    points = []
    for plane in planes:
        enlarged = cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC)
        row, column = np.unravel_index(np.argmax(enlarged), enlarged.shape)
        y, x = origin + np.add((row, column), 0.5) * size / (height, width)
        highest = plane.max()
        score = np.exp(enlarged[row, column] - highest) / np.exp(plane - highest).sum()
        points.append((y, x, score))
    return np.array(points)
