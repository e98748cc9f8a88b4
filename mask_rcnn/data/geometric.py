"""Transforms that turn, mirror and shear the output; see `data.augment` for the others."""

import numpy as np

from mask_rcnn.data import affine


def vertical_flip(sample, rng, probability=0.5):
    """Mirrors top to bottom; left and right keypoints change places, as in every mirror image.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        probability: Of a flip. Defaults to 0.5.
    """
    if rng.random() < probability:
        return sample.moved(affine.mirror_vertically(sample.size[0]), sample.size)
    return sample


def rotate_90(sample, rng, probability=0.75):
    """Turns by 90, 180 or 270 degrees, without interpolation; the sides change places with 90 and 270.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        probability: Of a turn. Defaults to 0.75: all four directions are equally likely.
    """
    if rng.random() >= probability:
        return sample
    for _ in range(rng.integers(1, 4)):
        height, width = sample.size
        sample = sample.moved(affine.quarter_turn(width), (width, height))
    return sample


def rotate(sample, rng, degrees=15.0):
    """Turns around the middle by a random angle; what leaves the frame is cut, the corners are filled.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        degrees: Largest angle, in both directions. Defaults to 15.
    """
    angle = np.radians(rng.uniform(-degrees, degrees))
    cosine, sine = np.cos(angle), np.sin(angle)
    return _around_the_middle(sample, [[cosine, -sine], [sine, cosine]])


def shear(sample, rng, degrees=15.0):
    """Shears by a random angle, along the rows or the columns.

    Reference: Cubuk et al. 2019, AutoAugment, table 6 (ShearX, ShearY).

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        degrees: Largest angle, in both directions, below 90. Defaults to 15; AutoAugment shears by up to 17.
    """
    slope, along_rows = np.tan(np.radians(rng.uniform(-degrees, degrees))), rng.random() < 0.5
    return _around_the_middle(sample, [[1, 0], [slope, 1]] if along_rows else [[1, slope], [0, 1]])


def random_window(sample, rng, size):
    """Cuts a window of `size` out of the output, at a random whole pixel.

    Where the window is larger than the output, it begins at the first pixel.
    """
    free = np.maximum(np.subtract(sample.size, size), 0)
    y, x = rng.integers(0, free + 1)
    return sample.moved(affine.translation(-y, -x), size)


def _around_the_middle(sample, linear):
    return sample.moved(affine.around(np.divide(sample.size, 2), linear), sample.size)
