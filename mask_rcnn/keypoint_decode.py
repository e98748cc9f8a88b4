"""Finds the keypoints of a detection in its heatmaps.

A heatmap is 56 x 56 whatever the size of its box, so it is enlarged to the pixels of the box before its
highest point is looked up: otherwise the keypoints of large objects would jump from cell to cell. torchvision
and detectron2 do the same, in the resized image.

Letters: N detections, S side of the heatmaps, J keypoints.
"""

import cv2
import numpy as np


def decode_keypoints(heatmaps, boxes):
    """Returns the keypoints of N detections.

    Args:
        heatmaps: `[N, S, S, J]`, logits, each stretched over its box.
        boxes: `[N, 4]`, yxyx.

    Returns:
        `[N, J, 3]` float32, (y, x, score), in the pixels of the boxes: the middle of the highest of the
        pixels into which the box is divided, and its share of the softmax over the S * S cells; between the
        cells that can exceed 1 a little.
    """
    keypoints = [_decode(logits, box) for logits, box in zip(heatmaps, boxes, strict=True)]
    return np.reshape(keypoints, (-1, heatmaps.shape[-1], 3)).astype("float32")


def _decode(logits, box):
    """`[S, S, J], [4] -> [J, 3]` float64."""
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
