"""Reads and writes PNG files with one channel whose pixels are ids of instances or classes."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from mask_rcnn.data.image_io.png_ids import decode_ids
from mask_rcnn.data.json_file import read_bytes

VOID = 255  # Pascal VOC: pixels that belong to no object (borders, unlabeled objects)


def read_ids(path: Path, size: tuple[int, int], where: str) -> np.ndarray:
    """Returns the pixels of a PNG file, `[H, W]` int64.

    Args:
        path: Path of the file.
        size: (height, width) that the file must have.
        where: What the ids belong to, for the messages, such as the path of the image.

    Raises:
        ValueError: If the file is not a complete PNG file of one channel or has another size.
    """
    return decode_ids(read_bytes(path, "a PNG file"), size, name=str(path), where=where)


def instance_masks(ids: np.ndarray) -> dict[int, tuple[np.ndarray, tuple[int, int]]]:
    """Returns the mask of each id of a map, cropped to its bounding box. Id 0 is background.

    Args:
        ids: `[H, W]` integers.

    Returns:
        `{id: (crop, origin)}` in ascending order of the ids. The crop is `[h, w]` bool. The origin is the
        (y, x) of its first pixel in the map.
    """
    rows, columns = np.nonzero(ids)
    values = ids[rows, columns]
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    masks = {}
    for pixels in np.split(order, starts[1:]) if len(order) else ():
        y, x = rows[pixels], columns[pixels]
        crop = np.zeros((y.max() - y.min() + 1, x.max() - x.min() + 1), bool)
        crop[y - y.min(), x - x.min()] = True
        masks[int(values[pixels[0]])] = (crop, (int(y.min()), int(x.min())))
    return masks


def write_png(path: Path | BinaryIO, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Writes ids as a PNG file.

    Args:
        path: Path of the file, or a binary stream.
        pixels: `[H, W]` uint8 or uint16.
        palette: `[256, 3]` uint8 RGB colors for a palette PNG of uint8 pixels. Defaults to None, gray values.
    """
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.ravel().tolist())
    image.save(path, format="PNG")
