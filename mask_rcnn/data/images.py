"""Image files to pixels: upright, RGB of 8 bits unless said otherwise, decoded from what was checked before.

Whatever is wrong with a file becomes one error that names it.
"""

import contextlib
import functools
import os
import re
import stat
import struct
from pathlib import Path

import numpy as np

from mask_rcnn.data.array_decoding import as_rgb, decode_array
from mask_rcnn.data.decoding import decode_8_bits, decode_16_bits, decode_channels
from mask_rcnn.data.image_headers import ARRAY_FORMATS, FORMATS, MAX_PIXELS, parse_header
from mask_rcnn.paths import as_path

# The last bytes of a file that was written to its end. Padding may follow them, hence the tail.
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
TAIL_BYTES = 64

TENSORFLOW_NODES = re.compile(r"\{\{.*?\}\} | \[Op:.*")  # in its messages


def read_header(path, max_pixels=MAX_PIXELS, channels=3):
    """Returns the `ImageHeader` of an image file, without decoding it.

    Args:
        path: of the file, or a `RecordImage`.
        max_pixels: Largest height times width that is accepted. Defaults to `MAX_PIXELS`.
        channels: Of the image that is expected, as in `read_image`. Defaults to 3.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a regular file, cannot be read, is not an image, is too large, or has another
            number of channels.
    """
    with _opened(path) as file:
        return _checked_header(file, max_pixels, channels)


def read_complete_header(path, max_pixels=MAX_PIXELS, channels=3):
    """Returns the `ImageHeader` of an image file that was not cut off.

    The end marker tells it without decoding; a file without one is decoded to be sure.

    Args:
        path, max_pixels, channels: As in `read_header`, which says what is raised.
    """
    with _opened(path) as file:
        header = _checked_header(file, max_pixels, channels)
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - TAIL_BYTES, 0))
        marker = END_MARKERS.get(header.format)
        is_complete = marker is not None and marker in file.read()
    if not is_complete and header.format != "NPY":  # whose header tells its length
        read_samples(path, max_pixels, channels)
    return header


def read_image(path, bit_depth=None, max_pixels=MAX_PIXELS, channels=3, dtype="uint8"):
    """Returns the pixels of an image file, `[H, W, channels]`, upright; as uint8 RGB unless said otherwise.

    With 3 channels, gray, CMYK and palettes become RGB, and alpha is dropped. With another number, a file
    must have that many: nothing is repeated or dropped. Of an animation, the first frame is read. The
    channels of a TIFF file are the samples of all its pages, those of an .npy file its last axis.

    Args:
        path: of a JPEG, PNG, GIF, BMP, WebP, TIFF or .npy file, anywhere that `paths.as_path` knows; or a
            `RecordImage`.
        bit_depth: Bits that the samples of 16-bit files use, 8 to 16, as in `InputConfig.bit_depth`: the
            upper 8 of them are kept. Files of 8 bits stay as they are. Defaults to None, which is 16.
        max_pixels: Largest height times width that is accepted. Defaults to `MAX_PIXELS`.
        channels: Number of channels. Defaults to 3.
        dtype: "uint8", or "uint16": 16-bit files stay as they are, and samples of 8 bits are multiplied by
            `2 ** (bit_depth - 8)`, so that both are equally bright. Defaults to "uint8".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is not a complete image, is too large, has another number of channels,
            or has a sample of more than `bit_depth` bits.
    """
    convert = functools.partial(with_dtype, bit_depth=bit_depth or 16, dtype=dtype)
    return read_samples(path, max_pixels, channels, convert)


def read_samples(path, max_pixels=MAX_PIXELS, channels=3, convert=None):
    """As `read_image`, but returns the samples of 16-bit files as they are, `[H, W, channels]` uint16.

    Args:
        path, max_pixels, channels: As in `read_image`.
        convert: Function of the samples whose result is returned. Defaults to none.
    """
    with _opened(path) as file:
        header = _checked_header(file, max_pixels, channels)
        samples = _upright(_decode(file, header, channels), header.orientation)
        return samples if convert is None else convert(samples)


def used_bits(path, channels=3):
    """Returns how many bits the largest sample of an image file needs; None unless it is a 16-bit file.

    Args:
        path, channels: As in `read_image`.
    """
    with _opened(path) as file:
        header = _checked_header(file, MAX_PIXELS, channels)
        if header.bits != 16:
            return None
        return int(_decode(file, header, channels).max()).bit_length()


def is_image_file(image):
    """Tells whether an image is given as a file of `read_image`, and not as pixels."""
    return isinstance(image, str) or hasattr(image, "open")


def check_regular_file(path):
    """Raises FileNotFoundError or ValueError unless `path` is a regular file: a FIFO would wait for ever."""
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
def _opened(path):
    """Opens an image file; turns whatever goes wrong inside into one error that names it."""
    path = as_path(path)
    if isinstance(path, Path):
        check_regular_file(path)
    try:
        with path.open("rb") as file:
            yield file
    except Exception as error:  # decoders raise anything, down to IndexError and MemoryError
        message = TENSORFLOW_NODES.sub("", str(error)) or type(error).__name__
        reason = getattr(error, "strerror", None) or message
        raise ValueError(
            f"Expected a complete image file, one of {', '.join((*FORMATS, *ARRAY_FORMATS))}. "
            f"Received: path={_shown(path)} ({' '.join(reason.split())}). "
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
    "a TIFF file with tiles: of these, `detect --tile` and `data convert --tile` read one after the other.",
    _TooDeep: "Declare the number of bits that your images use in `input.bit_depth`, or none.",
    _OtherChannels: "Set `input.channels` to what your files have, or convert them.",
    ModuleNotFoundError: "Run `pip install mask-rcnn[tiff]`, or write a page per channel, or .npy files.",
}


def _shown(path):
    """Returns a path in quotes, with control characters and bytes outside of UTF-8 escaped."""
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
    """Returns `[H, W, channels]` uint8, or uint16 of a 16-bit file, before the orientation is undone."""
    if header.format in ARRAY_FORMATS:
        samples = decode_array(file, header)
        return as_rgb(samples) if channels == 3 else samples
    if channels != 3:
        return decode_channels(file, header)
    return decode_16_bits(file) if header.bits == 16 else decode_8_bits(file, header)


def with_dtype(samples, bit_depth, dtype):
    """Converts `[...]` uint8 or uint16 to `dtype`; 16-bit files use `bit_depth` bits, uint8 the upper 8."""
    shift = bit_depth - 8
    if samples.dtype == np.uint8:
        return samples if dtype == "uint8" else samples.astype(dtype) << shift
    if int(samples.max()) >> bit_depth:
        raise _TooDeep(f"a sample of {samples.max()}, where {bit_depth} bits were declared")
    return samples if dtype == "uint16" else (samples >> shift).astype("uint8")


def _upright(pixels, orientation):
    """Undoes an EXIF orientation: `[H, W, C]` to `[H, W, C]` or `[W, H, C]`."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
