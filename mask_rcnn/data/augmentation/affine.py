"""Affine matrices `[3, 3]` float64 for points (y, x, 1), from pixels of one image to pixels of another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def scaling(y: float, x: float) -> np.ndarray:
    """Returns the matrix that scales coordinates by the factors `y` and `x`."""
    return np.diag((y, x, 1.0))


def translation(y: float, x: float) -> np.ndarray:
    """Returns the matrix that adds `y` and `x` to coordinates."""
    matrix = np.eye(3)
    matrix[:2, 2] = y, x
    return matrix


def mirror(width: int) -> np.ndarray:
    """Returns the matrix that flips an image of `width` pixels left to right."""
    return translation(0, width) @ scaling(1, -1)


def mirror_vertically(height: int) -> np.ndarray:
    """Returns the matrix that flips an image of `height` pixels top to bottom."""
    return translation(height, 0) @ scaling(-1, 1)


def transpose() -> np.ndarray:
    """Returns the matrix that swaps y and x."""
    return np.eye(3)[[1, 0, 2]]


def quarter_turn(width: int) -> np.ndarray:
    """Returns the matrix that rotates an image of `width` pixels by 90 degrees counterclockwise."""
    return mirror_vertically(width) @ transpose()


def around(center: Sequence[float] | np.ndarray, linear: ArrayLike) -> np.ndarray:
    """Returns the matrix that applies the `[2, 2]` matrix `linear` around the point `center`, (y, x)."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    return translation(*center) @ matrix @ translation(*np.negative(center))


def is_axis_aligned(matrix: np.ndarray) -> bool:
    """Returns whether the matrix maps boxes to boxes: it has no rotation and no shear."""
    return bool(matrix[0, 1] == 0 and matrix[1, 0] == 0)


def is_transposed(matrix: np.ndarray) -> bool:
    """Returns whether the matrix swaps y and x and is otherwise axis-aligned."""
    return bool(matrix[0, 0] == 0 and matrix[1, 1] == 0)


def scale(matrix: np.ndarray) -> float:
    """Returns the mean scale factor of lengths: the square root of the factor of areas."""
    return float(np.sqrt(abs(np.linalg.det(matrix))))


def move_points(points: ArrayLike, matrix: np.ndarray) -> np.ndarray:
    """Applies a matrix to points `[..., 2]`, (y, x)."""
    return np.asarray(points) @ matrix[:2, :2].T + matrix[:2, 2]


def move_boxes(boxes: ArrayLike, matrix: np.ndarray) -> np.ndarray:
    """Returns the axis-aligned boxes `[N, 4]`, yxyx, around the mapped corners of boxes `[N, 4]`."""
    y1, x1, y2, x2 = np.reshape(boxes, (-1, 4)).T
    corners = np.stack([(y1, x1), (y1, x2), (y2, x1), (y2, x2)])  # [4, 2, N]
    moved = move_points(np.moveaxis(corners, 1, 2), matrix)  # [4, N, 2]
    return np.concatenate([moved.min(axis=0), moved.max(axis=0)], axis=-1)
