"""Images of which windows are read: decoded as a whole once, for all windows."""

import threading

import numpy as np


class DecodedImage:
    """An image that must be decoded as a whole. It is decoded for the first window that is read.

    Args:
        size: (height, width) in pixels.
        decode: Function without arguments that returns the pixels, `[H, W, 3]`.
    """

    def __init__(self, size, decode):
        self.size = size
        self._decode, self._pixels, self._error, self._lock = decode, None, None, threading.Lock()

    def read(self, window=None):
        """Returns the pixels of a window; may be called in several threads.

        Args:
            window: (y1, x1, y2, x2), whole pixels inside of the image. Defaults to the whole image.

        Returns:
            `[y2 - y1, x2 - x1, 3]`, a copy, or the pixels themselves of the whole image.
        """
        with self._lock:
            pixels = self._pixels = self._decoded() if self._pixels is None else self._pixels
        if window is None or tuple(window) == (0, 0, *self.size):
            return pixels
        y1, x1, y2, x2 = window
        return np.array(pixels[y1:y2, x1:x2])  # a view would keep the whole image in memory

    def _decoded(self):
        if self._error is not None:  # it would fail again for each window
            raise self._error
        try:
            return self._decode()
        except Exception as error:
            self._error = error
            raise

    def close(self):
        """Frees the pixels. The next window decodes them again."""
        with self._lock:
            self._pixels = None
