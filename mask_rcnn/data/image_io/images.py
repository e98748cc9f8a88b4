"""Reads image files as upright arrays, by default 8-bit RGB.

The header is checked before the pixels are decoded. Any problem becomes a single error that names the file.
"""

import contextlib
import functools
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol, TypeGuard

import numpy as np

from mask_rcnn.data.image_io.array_decoding import as_rgb, decode_array
from mask_rcnn.data.image_io.decoding import decode_8_bits, decode_16_bits, decode_channels
from mask_rcnn.data.image_io.image_headers import (
    ARRAY_FORMATS,
    FORMATS,
    MAX_PIXELS,
    ImageHeader,
    parse_header,
)
from mask_rcnn.system.paths import RemotePath, as_path

# The last bytes of a complete file. They are searched in a longer tail, because padding may follow.
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
TAIL_BYTES = 64

TENSORFLOW_NODES = re.compile(r"\{\{.*?\}\} | \[Op:.*")  # node names in TensorFlow's error messages


class OpenableFile(Protocol):
    """A file that is not a path but can be opened, such as a `RecordImage`."""

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Returns the file as a binary stream."""
        ...


ImageFile = str | Path | RemotePath | OpenableFile


def read_header(path: ImageFile, max_pixels: int = MAX_PIXELS, channels: int = 3) -> ImageHeader:
    """Returns the `ImageHeader` of an image file without decoding its pixels.

    Args:
        path: Path of the file, or a `RecordImage`.
        max_pixels: Maximum height times width. Defaults to `MAX_PIXELS`.
        channels: Expected number of channels, as in `read_image`. Defaults to 3.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The path is not a regular file, cannot be read, is not an image, is too large, or has
            another number of channels.
    """
    with _opened(path) as file:
        return _checked_header(file, max_pixels, channels)


def read_complete_header(path: ImageFile, max_pixels: int = MAX_PIXELS, channels: int = 3) -> ImageHeader:
    """Returns the `ImageHeader` of an image file and checks that the file is not truncated.

    The end marker shows this without decoding. A file without an end marker is decoded to be sure.

    Args:
        path: Path of the file, or a `RecordImage`.
        max_pixels: Maximum height times width. Defaults to `MAX_PIXELS`.
        channels: Expected number of channels, as in `read_image`. Defaults to 3.

    Raises:
        FileNotFoundError, ValueError: As in `read_header`, or the file is truncated.
    """
    with _opened(path) as file:
        header = _checked_header(file, max_pixels, channels)
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - TAIL_BYTES, 0))
        marker = END_MARKERS.get(header.format)
        is_complete = marker is not None and marker in file.read()
    if not is_complete and header.format != "NPY":  # the length of an .npy file follows from its header
        read_samples(path, max_pixels, channels)
    return header


def read_image(
    path: ImageFile,
    bit_depth: int | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    channels: int = 3,
    dtype: str = "uint8",
) -> np.ndarray:
    """Returns the pixels of an image file, upright, `[H, W, channels]`. By default they are 8-bit RGB.

    With 3 channels, gray, CMYK and palettes become RGB, and alpha is dropped. With any other number, the file
    must have exactly that many channels. For an animation, the first frame is read. The channels of a TIFF
    file are the samples of all its pages, and those of an .npy file are its last axis.

    Args:
        path: Path of a JPEG, PNG, GIF, BMP, WebP, TIFF or .npy file, local or remote (see `paths.as_path`),
            or a `RecordImage`.
        bit_depth: Number of bits that the samples of 16-bit files use, 8 to 16, as in
            `InputConfig.bit_depth`. For uint8, the upper 8 of these bits are kept. 8-bit files are not
            affected. Defaults to None: 16.
        max_pixels: Maximum height times width. Defaults to `MAX_PIXELS`.
        channels: Number of channels. Defaults to 3.
        dtype: "uint8" or "uint16". With "uint16", 16-bit files stay unchanged, and 8-bit samples are
            multiplied by `2 ** (bit_depth - 8)` to have the same brightness. Defaults to "uint8".

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, is not a complete image, is too large, has another number of
            channels, or has a sample with more than `bit_depth` bits.
    """
    convert = functools.partial(with_dtype, bit_depth=bit_depth or 16, dtype=dtype)
    return read_samples(path, max_pixels, channels, convert=convert)


def read_samples(
    path: ImageFile,
    max_pixels: int = MAX_PIXELS,
    channels: int = 3,
    *,
    convert: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Returns the same as `read_image`, but 16-bit files stay unchanged, `[H, W, channels]` uint16.

    Args:
        path: Path of the file, or a `RecordImage`.
        max_pixels: Maximum height times width. Defaults to `MAX_PIXELS`.
        channels: Number of channels, as in `read_image`. Defaults to 3.
        convert: Function that is applied to the samples `[H, W, channels]`. Defaults to None.
    """
    with _opened(path) as file:
        header = _checked_header(file, max_pixels, channels)
        samples = _upright(_decode(file, header, channels), header.orientation)
        return samples if convert is None else convert(samples)


def used_bits(path: ImageFile, channels: int = 3) -> int | None:
    """Returns how many bits the largest sample of a 16-bit image file needs, or None for 8-bit files.

    Args:
        path: Path of the file, or a `RecordImage`.
        channels: Number of channels, as in `read_image`. Defaults to 3.
    """
    with _opened(path) as file:
        header = _checked_header(file, MAX_PIXELS, channels)
        if header.bits != 16:
            return None
        return int(_decode(file, header, channels).max()).bit_length()


def is_image_file(image: object) -> TypeGuard[ImageFile]:
    """Returns whether `image` is a file for `read_image` (a path or an object with `open`), not an array."""
    return isinstance(image, str) or hasattr(image, "open")


def check_regular_file(path: str | os.PathLike) -> None:
    """Raises FileNotFoundError or ValueError unless `path` is a regular file. Opening a FIFO could block."""
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Expected an image or video. Received: path={_shown(path)}. Check the folder and the name."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"Expected an image or video. Received: path={_shown(path)} ({reason}). Check the path."
        ) from error
    if not is_regular:
        raise ValueError(
            f"Expected an image or video. Received: path={_shown(path)}, a folder or device. Give a file."
        )


@contextlib.contextmanager
def _opened(path: ImageFile) -> Iterator[IO[bytes]]:
    """Opens an image file. Any exception inside becomes one error that names the file."""
    file_path = as_path(path) if isinstance(path, str | os.PathLike) else path
    if isinstance(file_path, Path):
        check_regular_file(file_path)
    try:
        with file_path.open("rb") as file:
            yield file
    except Exception as error:  # decoders raise errors of any type, such as IndexError and MemoryError
        message = TENSORFLOW_NODES.sub("", str(error)) or type(error).__name__
        reason = getattr(error, "strerror", None) or message
        raise ValueError(
            f"Expected a complete image file, one of {', '.join((*FORMATS, *ARRAY_FORMATS))}. "
            f"Received: path={_shown(file_path)} ({' '.join(reason.split())}). "
            f"{_ADVICE.get(type(error), 'Copy the file again, or convert it to PNG or JPEG.')}"
        ) from error


class _TooLarge(ValueError):
    pass


class _TooDeep(ValueError):
    pass


class _OtherChannels(ValueError):
    pass


_ADVICE = {
    PermissionError: "Change the permissions of the file.",
    MemoryError: "Scale the image down, or cut it into tiles.",
    _TooLarge: "Scale the image down, raise `data.max_pixels` (`detect --max-pixels`), or convert it to "
    "a TIFF file with tiles, which `detect --tile` and `data convert --tile` read one after the other.",
    _TooDeep: "Set `input.bit_depth` to the number of bits that your images use, or leave it out.",
    _OtherChannels: "Set `input.channels` to what your files have, or convert them.",
    ModuleNotFoundError: "Run `pip install mask-rcnn[tiff]`, or write a page per channel, or .npy files.",
}


def _shown(path):
    """Returns a path in quotes, with control characters and bytes that are not UTF-8 escaped."""
    return repr(str(path))


def _checked_header(file, max_pixels, channels):
    try:
        header = parse_header(file)
    except struct.error as error:
        raise ValueError("it ends inside its header") from error
    if header.height * header.width > max_pixels:
        raise _TooLarge(
            f"{header.height} x {header.width} pixels, {header.height * header.width / 1e6:.0f} million; "
            f"at most {max_pixels / 1e6:g} million are decoded"
        )
    if header.channels != channels and not (channels == 3 and header.becomes_rgb):
        raise _OtherChannels(
            f"{header.channels} channels of {header.height} x {header.width} pixels, where {channels} "
            "are expected"
        )
    return header


def _decode(file, header, channels):
    """Returns `[H, W, channels]`, uint8 or (16-bit files) uint16, without applying the EXIF orientation."""
    if header.format in ARRAY_FORMATS:
        samples = decode_array(file, header)
        return as_rgb(samples) if channels == 3 else samples
    if channels != 3:
        return decode_channels(file, header)
    return decode_16_bits(file) if header.bits == 16 else decode_8_bits(file, header)


def with_dtype(samples: np.ndarray, bit_depth: int, dtype: str) -> np.ndarray:
    """Converts uint8 or uint16 samples to `dtype`.

    Args:
        samples: `[...]` uint8 or uint16.
        bit_depth: Number of bits that uint16 samples use. For uint8, the upper 8 of them are kept.
        dtype: "uint8" or "uint16".

    Raises:
        ValueError: A sample has more than `bit_depth` bits.
    """
    shift = bit_depth - 8
    if samples.dtype == np.uint8:
        return samples if dtype == "uint8" else samples.astype(dtype) << shift
    if int(samples.max()) >> bit_depth:
        raise _TooDeep(f"a sample of {samples.max()}, where {bit_depth} bits were declared")
    return samples if dtype == "uint16" else (samples >> shift).astype("uint8")


def _upright(pixels, orientation):
    """Applies an EXIF orientation: `[H, W, C]` becomes `[H, W, C]` or `[W, H, C]`."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
