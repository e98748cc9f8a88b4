"""Where the tiles of a large image lie."""

import math
from dataclasses import dataclass

import numpy as np

OVERLAP = 0.2  # of the side, as in SAHI (Akyon et al. 2022)
MIN_SIZE = 32  # pixels; the coarsest features of the networks have this stride
MAX_OVERLAP = 0.9  # with more, each pixel would be in more than a hundred tiles


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Square tiles that overlap.

    Args:
        size: Side of a tile in pixels, 32 or more.
        overlap: Share of the side that neighbors have in common at least, 0 to 0.9. Objects of up to
            `overlap * size` pixels are whole in at least one tile. Defaults to 0.2.
    """

    size: int
    overlap: float = OVERLAP

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < MIN_SIZE:
            raise ValueError(
                f"The side of a tile must be a whole number of pixels, {MIN_SIZE} or more. "
                f"Received: {self.size}. 1024 is usual."
            )
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(
                f"The overlap of tiles must be a share of their side, 0 to {MAX_OVERLAP}. "
                f"Received: {self.overlap}. Give 0.2 for a fifth."
            )

    def windows(self, image_size):
        """Returns the tiles of an image, row by row.

        All have the same size. They are spread evenly: the first begin and the last end at the border of
        the image. A side of the image that is not longer than a tile has one tile of this length.

        Args:
            image_size: (height, width) in pixels.

        Returns:
            `[T, 4]` int64, yxyx, far edge not included.
        """
        (tops, height), (lefts, width) = (self._starts(length) for length in image_size)
        top, left = (each.ravel() for each in np.meshgrid(tops, lefts, indexing="ij"))
        return np.stack([top, left, top + height, left + width], axis=1)

    def _starts(self, length):
        """Returns where the tiles begin along an axis of `length` pixels, `[S]` int64, and their side."""
        if length <= self.size:
            return np.zeros(1, "int64"), length
        step = self.size - math.ceil(self.size * self.overlap)
        count = math.ceil((length - self.size) / step) + 1
        return np.linspace(0, length - self.size, count).round().astype("int64"), self.size
