"""Opens images for reading windows: TIFF files of any size, or other images, which are decoded once."""

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.data.image_io.images import ImageFile, check_regular_file, read_header, read_samples
from mask_rcnn.data.image_io.tiff import TiffImage, is_tiff
from mask_rcnn.system.paths import as_path


def open_image(
    path: ImageFile,
    *,
    max_pixels: int = MAX_PIXELS,
    channels: int = 3,
    convert: Callable[[np.ndarray], np.ndarray] | None = None,
) -> "TiffImage | DecodedImage":
    """Returns an image for reading windows: a `TiffImage` or a `DecodedImage`.

    Args:
        path: Path of an image file, as in `read_image`.
        max_pixels: Maximum number of pixels that is decoded at once: of a window for a TIFF file, otherwise
            of the whole image. Defaults to `MAX_PIXELS`.
        channels: As in `read_image`. Windows are only decoded separately for a local TIFF file and 3
            channels. Defaults to 3.
        convert: Function that is applied to the samples `[h, w, channels]`, uint8 or uint16. Defaults to
            None.

    Raises:
        FileNotFoundError, ValueError: As in `read_image`, or tifffile is not installed.
    """
    path = as_path(path) if isinstance(path, str) else path
    if isinstance(path, Path):
        check_regular_file(path)
        if channels == 3 and is_tiff(path):
            return TiffImage(path, max_pixels, convert)
    header = read_header(path, max_pixels, channels)
    decode = functools.partial(read_samples, path, max_pixels, channels, convert=convert)
    return DecodedImage((header.height, header.width), decode)


class DecodedImage:
    """An image that must be decoded as a whole. It is decoded when the first window is read.

    Args:
        size: (height, width) in pixels.
        decode: Function without arguments that returns the pixels, `[H, W, C]`.

    Attributes:
        has_whole: True, because the whole image is decoded in any case (see `TiffImage`).
    """

    has_whole = True

    def __init__(self, size: tuple[int, int], decode: Callable[[], np.ndarray]):
        self.size = size
        self._decode, self._lock = decode, threading.Lock()
        self._pixels: np.ndarray | None = None
        self._error: Exception | None = None

    def read(self, window: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Returns the pixels of a window. It is thread-safe.

        Args:
            window: (y1, x1, y2, x2), whole pixels inside of the image. Defaults to the whole image.

        Returns:
            `[y2 - y1, x2 - x1, C]`, a copy. For the whole image, the pixels themselves without a copy.
        """
        with self._lock:
            pixels = self._pixels = self._decoded() if self._pixels is None else self._pixels
        if window is None or tuple(window) == (0, 0, *self.size):
            return pixels
        y1, x1, y2, x2 = window
        return np.array(pixels[y1:y2, x1:x2])  # a view would keep the whole image in memory

    def _decoded(self):
        if self._error is not None:  # decoding would fail again for each window
            raise self._error
        try:
            return self._decode()
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        """Frees the pixels. The next window decodes the image again."""
        with self._lock:
            self._pixels = None
