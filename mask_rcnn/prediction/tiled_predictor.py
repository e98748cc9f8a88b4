"""Detection in large images: detects objects in overlapping tiles and merges the detections."""

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Generator, Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data.image_io.array_images import checked_image
from mask_rcnn.data.image_io.image_windows import DecodedImage, open_image
from mask_rcnn.data.image_io.images import is_image_file, with_dtype
from mask_rcnn.data.image_io.tiff import TiffImage
from mask_rcnn.postprocessing.tile_merge import merge_tiles
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.prediction.prediction_job import LARGE_PIXELS
from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.structures import Category, Detections
from mask_rcnn.system.paths import AnyPath


class TiledPredictor:
    """Detects objects in large images tile by tile, so that small objects are found as well.

    Each tile is resized to the input size of the model, so small objects become larger. An image that is not
    larger than a tile is detected without tiles. A larger image is also detected as a whole, for the objects
    that no tile contains completely.

    Can be used in place of an `ImagePredictor` to detect images.

    Args:
        predictor: `ImagePredictor`, of weights or of an exported model.
        tiling: `Tiling`, the size and overlap of the tiles.
        whole_image: Whether to also detect in the whole image. Defaults to True.

    Example:

    >>> predictor = TiledPredictor(mask_rcnn.load("best.weights.h5"), Tiling(size=1024))  # doctest: +SKIP
    >>> detections = predictor.predict("satellite.png")  # doctest: +SKIP
    """

    def __init__(self, predictor: ImagePredictor, tiling: Tiling, whole_image: bool = True):
        self.predictor, self.tiling, self.whole_image = predictor, tiling, whole_image

    @property
    def config(self) -> Config:
        """The `Config` of the model."""
        return self.predictor.config

    @property
    def categories(self) -> tuple[Category, ...]:
        """Tuple of `Category`. Class id i is `categories[i - 1]`."""
        return self.predictor.categories

    def max_detections(self, image_size: tuple[int, int]) -> int:
        """Returns the maximum number of detections in an image of (height, width) `image_size`."""
        return len(self._windows(image_size)) * self.predictor.max_detections(image_size)

    def batch_key(self, image_size: tuple[int, int]) -> Hashable:
        """Returns the batch key of an image with one window. Returns None for an image with several tiles."""
        return self.predictor.batch_key(image_size) if len(self._windows(image_size)) == 1 else None

    def default_batch_size(self) -> int:
        """Returns the number of tiles per batch that is fast on this machine."""
        return self.predictor.default_batch_size()

    def predict(self, image: np.ndarray | str | Path) -> Detections:
        """Detects the objects in one image.

        Args:
            image: `[H, W, C]` array, or the path of an image file, as in `ImagePredictor.predict`.

        Returns:
            `Detections` in the pixels of the image, sorted by descending score.

        Raises:
            ValueError: If the image cannot be read or used.
        """
        ((_, result),) = self.predict_many([image])
        if isinstance(result, Exception):
            raise result
        return result

    def predict_many(
        self,
        sources: Iterable[Any],
        *,
        batch_size: int | None = None,
        threads: int | None = None,
        image_of: Callable[[Any], np.ndarray | AnyPath] | None = None,
        batch_of: Callable[[Any], Hashable] | None = None,
        finish: Callable[[Any, Detections, Callable[[], np.ndarray]], Any] | None = None,
        keep_images: bool = False,
        score_threshold: float = 0.0,
    ) -> Generator[tuple[Any, Any], None, None]:
        """Detects the objects in many images. The tiles of an image are detected in batches.

        An image file is decoded once. Its pixels are in memory until its last tile is resized. At most two
        very large files are in memory at a time. Of a TIFF file, only the windows are decoded. If it has more
        pixels than `max_pixels` of the predictor, it is not detected as a whole.

        Args:
            sources, image_of, batch_of, keep_images, score_threshold: See `ImagePredictor.predict_many`.
            batch_size: Number of tiles per batch. Defaults to None, the number that is fast on this machine.
            threads: Number of threads that read and resize tiles. Defaults to None, one per core, at most 8.
            finish: Function of `(source, detections, pixels)`, see `ImagePredictor.predict_many`. Here it is
                called in the thread of the caller, while the model continues. Defaults to None.

        Yields:
            `(source, result)` in the order of `sources`, see `ImagePredictor.predict_many`.
        """
        images = (
            _OpenedImage(self.predictor, source, image_of=image_of, keep_pixels=keep_images)
            for source in sources
        )
        image_windows = ((image, window) for image in images for window in image.windows(self._windows))
        detected = self.predictor.predict_many(
            image_windows,
            batch_size=batch_size,
            threads=threads,
            image_of=lambda image_window: image_window[0].read(image_window[1]),
            batch_of=batch_of and (lambda image_window: batch_of(image_window[0].source)),
            score_threshold=score_threshold,
        )
        with contextlib.closing(detected):
            for image, results in itertools.groupby(detected, key=lambda result: result[0][0]):
                yield image.source, self._result(image, list(results), finish)

    def _windows(self, image_size, has_whole=True):
        """Returns the windows to detect in, `[T, 4]` int64, yxyx. The last may be the whole image."""
        windows = self.tiling.windows(image_size)
        if len(windows) == 1 or not self.whole_image or not has_whole:
            return windows
        return np.concatenate([windows, [[0, 0, *image_size]]])

    def _result(self, image, results, finish):
        """Returns the detections of an image, or the result of `finish`, or an exception.

        Args:
            image: `_OpenedImage`.
            results: List of ((image, window), `Detections` or exception), one per window.
            finish: See `predict_many`.
        """
        try:
            for _, result in results:
                if isinstance(result, Exception):
                    return result
            windows = np.array([window for (_, window), _ in results])
            parts = [detections for _, detections in results]
            detections = parts[0] if len(parts) == 1 else _merged(parts, windows, image.size)
            if finish is None:
                return detections
            return finish(image.source, detections, image.all_pixels)
        except Exception as error:  # one bad image must not stop the others
            return error


def _merged(parts, windows, image_size):
    """Returns the `Detections` of an image, merged from those of its windows by `merge_tiles`."""
    if tuple(windows[-1]) == (0, 0, *image_size):
        parts = [*parts[:-1], _objects_in_no_tile(parts[-1], windows[:-1])]
    return merge_tiles(parts, windows, image_size)


def _objects_in_no_tile(detections, tiles):
    """Returns the detections whose boxes no tile contains. Tiles show all other objects at a larger scale."""
    boxes = detections.boxes[:, None]  # [N, 1, 4]
    is_inside = (boxes[..., :2] >= tiles[:, :2]) & (boxes[..., 2:] <= tiles[:, 2:])  # [N, T, 2]
    return detections.select(~is_inside.all(axis=-1).any(axis=1))


class _OpenedImage:
    """An image that is opened once for all of its tiles.

    Args:
        predictor: `ImagePredictor`, which sets the pixel format and the maximum size.
        source: The source, as given by the caller of `predict_many`.
        image_of: Function of `source` that returns an array or a path, or None for `source` itself.
        keep_pixels: Whether to keep the pixels in memory after the last tile.

    Attributes:
        size: (height, width), set by `windows`. None if the image cannot be read.
    """

    def __init__(self, predictor, source, *, image_of, keep_pixels):
        self.source, self.size = source, None
        self._predictor, self._image_of, self._keep_pixels = predictor, image_of, keep_pixels
        self._pixels: DecodedImage | TiffImage | None = None
        self._num_unread, self._lock = 1, threading.Lock()

    def windows(self, windows_of):
        """Returns the windows to read, yxyx. `[None]` is the whole image.

        Args:
            windows_of: Function of `(image_size, has_whole)` that returns the windows, `[T, 4]` int.
                `has_whole` is whether the whole image may be one of the windows.
        """
        try:
            opened = self._pixels = self._open()
        except Exception:  # `read` opens again and raises it; it becomes the result of the image
            return [None]
        self.size = opened.size
        windows = windows_of(self.size, opened.has_whole)
        self._keep_pixels = self._keep_pixels and self.size[0] * self.size[1] <= LARGE_PIXELS
        self._num_unread = len(windows)
        return windows if len(windows) > 1 else [None]

    def read(self, window):
        """Returns the pixels of a window, `[h, w, C]`. Frees the image after its last window."""
        image = self._opened()
        pixels = image.read(window)
        with self._lock:
            self._num_unread -= 1
        if not self._num_unread and not self._keep_pixels:
            image.close()
        return pixels

    def all_pixels(self):
        """Returns the pixels of the whole image, `[H, W, C]`."""
        return self._opened().read()

    def _opened(self):
        """Returns the opened image. Opens it if that failed before, which raises the error."""
        if self._pixels is None:
            self._pixels = self._open()
        return self._pixels

    def _open(self):
        """Returns the opened image, see `open_image`. Pixels are decoded later."""
        image = self.source if self._image_of is None else self._image_of(self.source)
        settings = self._predictor.config.input
        if is_image_file(image):
            depth = settings.bit_depth or 16
            convert = functools.partial(with_dtype, bit_depth=depth, dtype=settings.dtype)
            return open_image(
                image, max_pixels=self._predictor.max_pixels, channels=settings.channels, convert=convert
            )
        pixels = checked_image(image, settings)
        return DecodedImage(pixels.shape[:2], lambda: pixels)
