"""Detects 16-bit images that use fewer bits, as from cameras with 10, 12 or 14 bits. They look black."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mask_rcnn.data.image_io.images import read_image, used_bits
from mask_rcnn.data.records import Dataset

MAX_IMAGES = 20  # number of images of a data set that are decoded for this check
MIN_UNUSED_BITS = 2  # with 2 unused bits, the brightest pixel is at most at a quarter of the range
MAX_EXAMPLES = 3


def check_bit_depth(
    dataset: Dataset, bit_depth: int | None = None, *, channels: int = 3, dtype: str = "uint8"
) -> str | None:
    """Returns a warning if the 16-bit images of a `Dataset` use fewer bits than declared, otherwise None.

    Args:
        dataset: `Dataset`. A sample of its 16-bit images is decoded.
        bit_depth: As in `InputConfig.bit_depth`. Defaults to None, 16 bits.
        channels, dtype: As in `read_image`. Default to 3 and "uint8".

    Raises:
        ValueError: An image of the sample uses more bits than `bit_depth`.
    """
    deep = [image.path for image in dataset.images if image.bits == 16]
    chosen = np.unique(np.linspace(0, len(deep) - 1, MAX_IMAGES).astype(int)) if deep else []
    for index in chosen if bit_depth else []:
        read_image(deep[index], bit_depth, channels=channels, dtype=dtype)
    bits_of_images = {deep[index]: used_bits(deep[index], channels) for index in chosen}
    used = {path: bits for path, bits in bits_of_images.items() if bits is not None}
    return bit_depth_warning(used, bit_depth)


def bit_depth_warning(used: Mapping[Any, int], bit_depth: int | None = None) -> str | None:
    """Returns a warning about 16-bit images that use fewer bits than declared, or None.

    Args:
        used: Dict from the path of each 16-bit image to its `used_bits`.
        bit_depth: As in `InputConfig.bit_depth`. Defaults to None, 16 bits.
    """
    dark = {path: bits for path, bits in used.items() if bits <= (bit_depth or 16) - MIN_UNUSED_BITS}
    if not dark or bit_depth == 8:
        return None
    most = max(dark.values())
    likely = max(most + most % 2, 8)  # cameras have 8, 10, 12 or 14 bits
    names = ", ".join(str(path) for path in list(dark)[:MAX_EXAMPLES])
    return (
        f"{len(dark)} of {len(used)} images with 16 bits per sample use at most {most} of "
        f"{bit_depth or 16} bits, as {names}: they come out nearly black. "
        f"If the other bits are never used, set input.bit_depth={likely}."
    )
