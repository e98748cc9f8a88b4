"""Reads windows of TIFF files without decoding the whole file.

A TIFF file is a sequence of segments, tiles or strips of rows, which are compressed independently (TIFF 6.0,
Adobe 1992, sections 3 and 15). The package tifffile decodes them. The extra `tiff` installs it.
"""

import collections
import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mask_rcnn.data.image_io.array_decoding import as_rgb
from mask_rcnn.data.image_io.array_headers import JPEG, TIFF_STARTS, num_colors
from mask_rcnn.data.image_io.exif import EXIF_ORIENTATION, UPRIGHT
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS

MAX_CACHED = 1 << 27  # bytes of decoded segments in the cache, because neighboring windows share segments
SEPARATE_PLANES = 2  # value of tag 284, planar configuration


def is_tiff(path: str | os.PathLike) -> bool:
    """Returns whether a file starts with a TIFF signature."""
    with open(path, "rb") as file:
        return file.read(4) in TIFF_STARTS


class TiffImage:
    """The first image of a TIFF file, for reading windows of it.

    Only the tiles or strips that a window touches are decoded. Up to 134 MB of them are cached for later
    windows. The image may have any size. A tile, a strip or a window may have at most `max_pixels`.

    Args:
        path: Path of a TIFF file: gray or RGB, with or without alpha, 8 or 16 bits.
        max_pixels: Maximum number of pixels that is decoded at once. Defaults to `MAX_PIXELS`.
        convert: Function that is applied to the samples of each window. Defaults to None.

    Attributes:
        size: (height, width) in pixels.
        has_whole: Whether the whole image has at most `max_pixels`, so that it may be read at once.

    Raises:
        ValueError: The file cannot be read, or tifffile is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        max_pixels: int = MAX_PIXELS,
        convert: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self._path, self._max_pixels, self._convert = path, max_pixels, convert
        self._lock, self._cache = threading.Lock(), collections.OrderedDict()
        with self._errors():
            from tifffile import TiffFile

            with TiffFile(path) as file:
                # Annotated as any type, because a `TiffFrame` has the attributes of its first page.
                page: Any = file.pages[0]
                self._page = page
                _check(page)
                self.size = (page.imagelength, page.imagewidth)
                self._in_one_block, self._decode = page.is_memmappable, page.decode
                if page.compression == JPEG:
                    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
                    self._decode = functools.partial(page.decode, **tables)
        self.has_whole = self.size[0] * self.size[1] <= max_pixels

    def read(self, window: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Returns the samples of a window. It is thread-safe.

        Args:
            window: (y1, x1, y2, x2), whole pixels inside of the image. Defaults to the whole image.

        Returns:
            `[y2 - y1, x2 - x1, 3]` uint8 or uint16 RGB, or the result of `convert`.
        """
        y1, x1, y2, x2 = window = tuple(map(int, (0, 0, *self.size) if window is None else window))
        with self._errors(), self._lock:
            self._check_pixels("a window", (y2 - y1) * (x2 - x1))
            samples = self._mapped(window) if self._in_one_block else self._joined(window)
            samples = as_rgb(samples)
            return samples if self._convert is None else self._convert(samples)

    def close(self) -> None:
        """Frees the cached segments."""
        with self._lock:
            self._cache.clear()

    def _mapped(self, window):
        """Returns a window of an uncompressed image whose strips are contiguous, `[h, w, S]`."""
        y1, x1, y2, x2 = window
        page, (height, width) = self._page, self.size
        planes, dtype = page.samplesperpixel, np.dtype(page.parent.byteorder + page.dtype.char)
        is_separate = planes > 1 and page.planarconfig == SEPARATE_PLANES
        shape = (planes, height, width) if is_separate else (height, width, planes)
        # Mapped again for each window, because pages that were read count as memory of the process.
        pixels = np.memmap(self._path, dtype, "r", page.dataoffsets[0], shape)
        part = pixels[:, y1:y2, x1:x2].transpose(1, 2, 0) if is_separate else pixels[y1:y2, x1:x2]
        return np.array(part, page.dtype)

    def _joined(self, window):
        """Returns a window joined from the segments that it touches, `[h, w, S]`."""
        y1, x1, y2, x2 = window
        page, (height, width) = self._page, self.size
        length, side = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        length = min(length, height)  # for a single strip, the tag may hold the largest 32-bit number
        self._check_pixels("a tile" if page.is_tiled else "a strip", length * side)
        rows, columns = -(-height // length), -(-width // side)
        planes = page.samplesperpixel if page.planarconfig == SEPARATE_PLANES else 1
        samples = np.zeros((y2 - y1, x2 - x1, page.samplesperpixel), page.dtype)
        with open(self._path, "rb") as file:
            for plane, row, column in itertools.product(
                range(planes),
                range(y1 // length, -(-y2 // length)),
                range(x1 // side, -(-x2 // side)),
            ):
                segment = self._segment(file, (plane * rows + row) * columns + column)
                if segment is None:  # not in the file, so the pixels stay 0
                    continue
                top, left = row * length, column * side
                bottom, right = min(top + segment.shape[0], y2), min(left + segment.shape[1], x2)
                first, start = max(top, y1), max(left, x1)
                part = segment[first - top : bottom - top, start - left : right - left]
                target = samples[first - y1 : bottom - y1, start - x1 : right - x1]
                if planes > 1:
                    target[..., plane] = part[..., 0]
                else:
                    target[:] = part
        return samples

    def _segment(self, file, index):
        """Returns the decoded segment `[h, w, S]` at an index, or None if it is empty; caches it."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        page = self._page
        num_bytes = page.databytecounts[index]
        file.seek(page.dataoffsets[index])
        data = file.read(num_bytes) if num_bytes else None
        if data is not None and len(data) < num_bytes:
            raise ValueError("it is cut off")
        decoded = self._decode(data, index)[0]
        segment = None if decoded is None else decoded[0]
        self._cache[index] = segment
        while sum(each.nbytes for each in self._cache.values() if each is not None) > MAX_CACHED:
            self._cache.popitem(last=False)
        return segment

    def _check_pixels(self, name, count):
        if count > self._max_pixels:
            raise ValueError(
                f"{name} of {count / 1e6:.0f} million pixels; at most {self._max_pixels / 1e6:g} million are "
                "decoded at once"
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Context manager that turns any exception into one error that names the file."""
        try:
            yield
        except ImportError as error:
            raise ValueError(
                f"TIFF files need the package tifffile. Received: path={os.fspath(self._path)!r}. "
                "Run `pip install mask-rcnn[tiff]`."
            ) from error
        except Exception as error:  # tifffile raises errors of any type
            needs_codecs = "imagecodecs" in str(error)
            advice = "Convert it to RGB with 8 or 16 bits and tiles of 512 x 512 pixels."
            raise ValueError(
                "Expected a complete TIFF file, gray or RGB of 8 or 16 bits. "
                f"Received: path={os.fspath(self._path)!r} ({' '.join(str(error).split())}). "
                f"{'Run `pip install mask-rcnn[tiff]`.' if needs_codecs else advice}"
            ) from error


def _check(page: Any) -> None:
    """Raises a ValueError unless the decoded pixels of a page can be used without conversion."""
    if page.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"samples of {page.bitspersample} bits, {page.dtype}")
    if num_colors(page.photometric, page.compression) is None:
        raise ValueError(f"colors are {page.photometric!r}")
    orientation = page.tags.get(EXIF_ORIENTATION)
    if orientation is not None and orientation.value != UPRIGHT:
        raise ValueError(f"orientation {int(orientation.value)}, which is not upright")
    if page.imagedepth > 1:
        raise ValueError("it is a volume")
