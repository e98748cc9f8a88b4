"""Decodes image files with any number of channels: TIFF, .npy, and PNG with gray or alpha."""

import io
from typing import IO, Any

import cv2
import numpy as np

from mask_rcnn.data.image_io.image_headers import ImageHeader

# Channels of OpenCV's BGRA that make gray, gray with alpha, and RGBA, by number of channels.
BGRA_ORDER = {1: (0,), 2: (0, 3), 4: (2, 1, 0, 3)}


def decode_array(file: IO[bytes], header: ImageHeader) -> np.ndarray:
    """Decodes a TIFF or .npy file.

    Args:
        file: Open binary file.
        header: Its `ImageHeader`.

    Returns:
        `[H, W, C]` uint8 or uint16, before the EXIF orientation is applied.
    """
    file.seek(0)
    if header.format == "NPY":
        pixels = np.load(file, allow_pickle=False)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return pixels.reshape(*pixels.shape[:2], -1)
    pages = (_pages_by_opencv if header.pages == header.channels else _pages_by_tifffile)(file.read())
    if len(pages) != header.pages:
        raise ValueError(f"{len(pages)} of its {header.pages} pages can be decoded")
    pixels = np.concatenate([page.reshape(*page.shape[:2], -1) for page in pages], axis=-1)
    if pixels.shape[-1] != header.channels:
        raise ValueError(f"its header says {header.channels} channels, its content {pixels.shape[-1]}")
    return pixels


def as_rgb(samples: np.ndarray) -> np.ndarray:
    """Returns samples `[H, W, C]` as RGB `[H, W, 3]`: gray is repeated, other samples are dropped."""
    return samples[..., [0, 1, 2] if samples.shape[-1] > 2 else [0, 0, 0]]


def _pages_by_opencv(contents):
    """Returns the pages of a TIFF file with one sample per pixel, a list of `[H, W]`."""
    _, pages = cv2.imdecodemulti(np.frombuffer(contents, "uint8"), cv2.IMREAD_UNCHANGED)
    return pages


def _pages_by_tifffile(contents):
    """Returns the pages of a TIFF file with several samples per pixel, a list of `[H, W, S]`.

    OpenCV multiplies 8-bit colors by their alpha, and supports at most four samples.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ModuleNotFoundError("a page with several samples needs the package tifffile") from error
    with tifffile.TiffFile(io.BytesIO(contents)) as tiff:
        pages: Any = tiff.pages  # any type, because a `TiffFrame` has the attributes of its first page
        return [
            np.moveaxis(page.asarray(), 0, -1)
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            else page.asarray()
            for page in pages
        ]


def decode_deep_png(contents: bytes, channels: int) -> np.ndarray:
    """Decodes the bytes of a 16-bit PNG file to `[H, W, channels]` uint16: gray, or with alpha."""
    pixels = cv2.imdecode(np.frombuffer(contents, "uint8"), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its content cannot be decoded")
    return np.atleast_3d(pixels)[..., BGRA_ORDER[channels]]
