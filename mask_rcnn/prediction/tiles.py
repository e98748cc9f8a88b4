"""Positions of the overlapping tiles of a large image."""

import math
from dataclasses import dataclass

import numpy as np

OVERLAP = 0.2  # fraction of the side, as in SAHI (Akyon et al. 2022)
MIN_SIZE = 32  # pixels; stride of the coarsest backbone features
MAX_OVERLAP = 0.9  # a larger overlap would put each pixel in more than 100 tiles


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Square, overlapping tiles.

    Args:
        size: Integer, side of a tile, pixels, at least 32.
        overlap: Float from 0 to 0.9: minimum overlap of neighboring tiles, as a fraction of the side. At
            least one tile contains all of an object of up to `overlap * size` pixels. Defaults to 0.2.

    Raises:
        ValueError: If an argument is out of range.
    """

    size: int
    overlap: float = OVERLAP

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < MIN_SIZE:
            raise ValueError(
                f"The side of a tile must be a whole number of pixels, {MIN_SIZE} or more. "
                f"Received: {self.size}. A common value is 1024."
            )
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(
                f"The overlap of tiles must be a fraction of their side, 0 to {MAX_OVERLAP}. "
                f"Received: {self.overlap}. Give 0.2 for 20 %."
            )

    def windows(self, image_size: tuple[int, int]) -> np.ndarray:
        """Returns the tiles of an image, row by row.

        All tiles have the same size and are evenly spaced. The first tile of a row or column begins at the
        image border and the last one ends at it. A tile is never longer than the image: if the image has at
        most `size` pixels along an axis, a single tile covers that axis.

        Args:
            image_size: (height, width) of the image, pixels.

        Returns:
            `[T, 4]` int64, yxyx, far edge not included.
        """
        (tops, height), (lefts, width) = (self._starts(length) for length in image_size)
        top, left = (each.ravel() for each in np.meshgrid(tops, lefts, indexing="ij"))
        return np.stack([top, left, top + height, left + width], axis=1)

    def _starts(self, length):
        """Returns the first pixels of the tiles along an axis, `[S]` int64, and their length in pixels."""
        if length <= self.size:
            return np.zeros(1, "int64"), length
        step = self.size - math.ceil(self.size * self.overlap)
        count = math.ceil((length - self.size) / step) + 1
        return np.linspace(0, length - self.size, count).round().astype("int64"), self.size
