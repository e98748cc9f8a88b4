"""Decodes PNG files of one channel whose pixels are ids: instances, classes, or 0 and 1 of a mask."""

import io
import struct

import numpy as np
from PIL import Image

from mask_rcnn.data.image_io.image_headers import parse_header

# Pillow's modes with one channel of integers.
INTEGER_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def decode_ids(
    data: bytes, size: tuple[int, int], *, name: str, where: str, tolerance: int = 0
) -> np.ndarray:
    """Returns the pixels of a PNG file, `[H, W]` int64: gray values or palette indices.

    Args:
        data: Bytes of the file.
        size: Expected (height, width).
        name: Name of the file, for error messages.
        where: What the file is the mask of, for error messages.
        tolerance: Allowed difference of height and width, in pixels. Defaults to 0.

    Raises:
        ValueError: The file is not a complete PNG, has several channels, or has another size.
    """
    try:
        header = parse_header(io.BytesIO(data))
    except (ValueError, struct.error) as error:
        raise _damaged(name, error) from error
    difference = max(abs(header.height - size[0]), abs(header.width - size[1]))
    if header.format != "PNG" or difference > tolerance:
        raise ValueError(
            f"Expected a PNG file of height={size[0]}, width={size[1]}, the size of {where}. "
            f"Received: {name}, {header.format} of height={header.height}, width={header.width}. "
            "Give the mask that belongs to it."
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # decoders raise errors of any type, such as SyntaxError
        raise _damaged(name, error) from error
    if mode not in INTEGER_MODES:
        raise ValueError(
            "Expected a PNG file of one channel, gray values or a palette, whose pixels are ids. "
            f"Received: {name} of mode {mode}. Export ids, not colors."
        )
    return pixels.astype("int64")


def _damaged(name, error):
    return ValueError(f"Expected a complete PNG file. Received: {name} ({error}). Copy the file again.")
