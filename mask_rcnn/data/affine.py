"""Affine matrices `[3, 3]` float64 that move points (y, x, 1): from the pixels of an image to others."""

import numpy as np


def scaling(y, x):
    """Returns the matrix that multiplies coordinates."""
    return np.diag((y, x, 1.0))


def translation(y, x):
    """Returns the matrix that adds to coordinates."""
    matrix = np.eye(3)
    matrix[:2, 2] = y, x
    return matrix


def mirror(width):
    """Returns the matrix that mirrors an image of `width` pixels left to right."""
    return translation(0, width) @ scaling(1, -1)


def mirror_vertically(height):
    """Returns the matrix that mirrors an image of `height` pixels top to bottom."""
    return translation(height, 0) @ scaling(-1, 1)


def transpose():
    """Returns the matrix that exchanges y and x."""
    return np.eye(3)[[1, 0, 2]]


def quarter_turn(width):
    """Returns the matrix that turns an image of `width` pixels by 90 degrees, counterclockwise."""
    return mirror_vertically(width) @ transpose()


def around(center, linear):
    """Returns the matrix that applies a `[2, 2]` matrix around the point `center`, (y, x)."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    return translation(*center) @ matrix @ translation(*np.negative(center))


def is_axis_aligned(matrix):
    """Tells whether boxes stay boxes: the matrix scales, mirrors and moves, but does not turn or shear."""
    return matrix[0, 1] == 0 and matrix[1, 0] == 0


def is_transposed(matrix):
    """Tells whether the matrix is axis-aligned but for an exchange of y and x."""
    return matrix[0, 0] == 0 and matrix[1, 1] == 0


def scale(matrix):
    """Returns the factor by which the matrix changes lengths: the root of that of areas."""
    return float(np.sqrt(abs(np.linalg.det(matrix))))


def move_points(points, matrix):
    """Moves `[..., 2]` points (y, x)."""
    return np.asarray(points) @ matrix[:2, :2].T + matrix[:2, 2]


def move_boxes(boxes, matrix):
    """Returns the `[N, 4]` boxes, yxyx, around the moved corners of `[N, 4]` boxes."""
    y1, x1, y2, x2 = np.reshape(boxes, (-1, 4)).T
    corners = np.stack([(y1, x1), (y1, x2), (y2, x1), (y2, x2)])  # [4, 2, N]
    moved = move_points(np.moveaxis(corners, 1, 2), matrix)  # [4, N, 2]
    return np.concatenate([moved.min(axis=0), moved.max(axis=0)], axis=-1)
