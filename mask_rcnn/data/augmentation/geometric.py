"""Transforms that flip, rotate and shear; see `data.augmentation.augment` for the others."""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.sample import Sample


def vertical_flip(sample: Sample, rng: np.random.Generator, probability: float = 0.5) -> Sample:
    """Flips top to bottom with a probability. Left and right keypoints are swapped, as in any mirror image.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        probability: Probability of a flip. Defaults to 0.5.
    """
    if rng.random() < probability:
        return sample.moved(affine.mirror_vertically(sample.size[0]), sample.size)
    return sample


def rotate_90(sample: Sample, rng: np.random.Generator, probability: float = 0.75) -> Sample:
    """Rotates by 90, 180 or 270 degrees, without interpolation. 90 and 270 swap height and width.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        probability: Probability of a rotation. Defaults to 0.75: all four directions are equally likely.
    """
    if rng.random() >= probability:
        return sample
    for _ in range(rng.integers(1, 4)):
        height, width = sample.size
        sample = sample.moved(affine.quarter_turn(width), (width, height))
    return sample


def rotate(sample: Sample, rng: np.random.Generator, degrees: float = 15.0) -> Sample:
    """Rotates around the center by a random angle. Content outside of the frame is cut, corners are filled.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        degrees: Largest angle in both directions, in degrees. Defaults to 15.
    """
    angle = np.radians(rng.uniform(-degrees, degrees))
    cosine, sine = np.cos(angle), np.sin(angle)
    return _around_the_middle(sample, [[cosine, -sine], [sine, cosine]])


def shear(sample: Sample, rng: np.random.Generator, degrees: float = 15.0) -> Sample:
    """Shears by a random angle, along the rows or along the columns.

    Reference: Cubuk et al. 2019, AutoAugment, table 6 (ShearX, ShearY).

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        degrees: Largest angle in both directions, in degrees, below 90. Defaults to 15. AutoAugment shears by
            up to 17 degrees.
    """
    slope, along_rows = np.tan(np.radians(rng.uniform(-degrees, degrees))), rng.random() < 0.5
    return _around_the_middle(sample, [[1, 0], [slope, 1]] if along_rows else [[1, slope], [0, 1]])


def random_window(sample: Sample, rng: np.random.Generator, size: Sequence[int] | np.ndarray) -> Sample:
    """Crops a window of `size` from the output at a random whole pixel.

    If the window is larger than the output, it starts at the first pixel.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        size: (height, width) of the window.
    """
    free = np.maximum(np.subtract(sample.size, size), 0)
    y, x = rng.integers(0, free + 1)
    return sample.moved(affine.translation(-y, -x), size)


def _around_the_middle(sample, linear):
    return sample.moved(affine.around(np.divide(sample.size, 2), linear), sample.size)
