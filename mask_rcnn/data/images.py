"""Image files to pixels: always upright RGB, 8 bits, decoded by Pillow from what was checked before.

Whatever is wrong with a file becomes one error that names it.
"""

import contextlib
import functools
import os
import re
import stat
import struct

import numpy as np

from mask_rcnn.data.decoding import decode_8_bits, decode_16_bits
from mask_rcnn.data.image_headers import FORMATS, MAX_PIXELS, parse_header

# The last bytes of a file that was written to its end. Padding may follow them, hence the tail.
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
TAIL_BYTES = 64

TENSORFLOW_NODES = re.compile(r"\{\{.*?\}\} | \[Op:.*")  # in its messages


def read_header(path, max_pixels=MAX_PIXELS):
    """Returns the `ImageHeader` of an image file, without decoding it.

    Args:
        path: of the file.
        max_pixels: Largest height times width that is accepted. Defaults to `MAX_PIXELS`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a regular file, cannot be read, is not an image, or is too large.
    """
    with _opened(path) as file:
        return _checked_header(file, max_pixels)


def read_complete_header(path, max_pixels=MAX_PIXELS):
    """Returns the `ImageHeader` of an image file that was not cut off.

    The end marker tells it without decoding; a file without one is decoded to be sure.

    Args:
        path, max_pixels: As in `read_header`, which says what is raised.
    """
    with _opened(path) as file:
        header = _checked_header(file, max_pixels)
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - TAIL_BYTES, 0))
        marker = END_MARKERS.get(header.format)
        is_complete = marker is not None and marker in file.read()
    if not is_complete:
        read_image(path, max_pixels=max_pixels)
    return header


def read_image(path, bit_depth=None, max_pixels=MAX_PIXELS):
    """Returns the pixels of an image file as uint8 `[H, W, 3]`, RGB, upright.

    Gray, CMYK and palettes become RGB. Alpha is dropped. Of an animation, the first frame is read.

    Args:
        path: of a JPEG, PNG, GIF, BMP or WebP file.
        bit_depth: Bits that the samples of 16-bit files use, 8 to 16, as in `InputConfig.bit_depth`: the
            upper 8 of them are kept. Files of 8 bits stay as they are. Defaults to None, which is 16.
        max_pixels: Largest height times width that is accepted. Defaults to `MAX_PIXELS`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is not a complete image, is too large, or has a sample of more than
            `bit_depth` bits.
    """
    return read_samples(path, max_pixels, functools.partial(to_8_bits, bit_depth=bit_depth or 16))


def read_samples(path, max_pixels=MAX_PIXELS, convert=None):
    """As `read_image`, but returns the samples of 16-bit files as they are, `[H, W, 3]` uint16.

    Args:
        path, max_pixels: As in `read_image`.
        convert: Function of the samples whose result is returned. Defaults to none.
    """
    with _opened(path) as file:
        samples = _samples(file, max_pixels)
        return samples if convert is None else convert(samples)


def used_bits(path):
    """Returns how many bits the largest sample of an image file needs; None unless it is a 16-bit file."""
    with _opened(path) as file:
        if _checked_header(file, MAX_PIXELS).bits != 16:
            return None
        return int(decode_16_bits(file).max()).bit_length()


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
    check_regular_file(path)
    try:
        with open(path, "rb") as file:
            yield file
    except Exception as error:  # decoders raise anything, down to IndexError and MemoryError
        message = TENSORFLOW_NODES.sub("", str(error)) or type(error).__name__
        reason = getattr(error, "strerror", None) or message
        raise ValueError(
            f"Expected a complete image file, one of {', '.join(FORMATS)}. "
            f"Received: path={_shown(path)} ({' '.join(reason.split())}). "
            f"{_ADVICE.get(type(error), 'Copy the file again, or convert it to PNG or JPEG.')}"
        ) from error


class _TooLarge(ValueError):
    pass


class _TooDeep(ValueError):
    pass


_ADVICE = {
    PermissionError: "Change the permissions of the file.",
    MemoryError: "Scale the image down, or cut it into tiles.",
    _TooLarge: "Scale the image down, raise `data.max_pixels` (`detect --max-pixels`), or convert it to "
    "a TIFF file with tiles: of these, `detect --tile` and `data convert --tile` read one after the other.",
    _TooDeep: "Declare the number of bits that your images use in `input.bit_depth`, or none.",
}


def _shown(path):
    """Returns a path in quotes, with control characters and bytes outside of UTF-8 escaped."""
    return repr(os.fspath(path))


def _checked_header(file, max_pixels):
    try:
        header = parse_header(file)
    except struct.error as error:
        raise ValueError("it ends inside its header") from error
    if header.height * header.width > max_pixels:
        raise _TooLarge(
            f"{header.height} x {header.width} pixels, {header.height * header.width / 1e6:.0f} million; "
            f"at most {max_pixels / 1e6:g} million are decoded"
        )
    return header


def _samples(file, max_pixels):
    """Returns the samples of an open image file, `[H, W, 3]` uint8 or uint16, upright."""
    header = _checked_header(file, max_pixels)
    samples = decode_16_bits(file) if header.bits == 16 else decode_8_bits(file, header)
    return _upright(samples, header.orientation)


def to_8_bits(samples, bit_depth):
    """Keeps the upper 8 of `bit_depth` bits: `[...]` uint16 to uint8. What is uint8 stays as it is."""
    if samples.dtype == np.uint8:
        return samples
    if int(samples.max()) >> bit_depth:
        raise _TooDeep(f"a sample of {samples.max()}, where {bit_depth} bits were declared")
    return (samples >> (bit_depth - 8)).astype("uint8")


def _upright(pixels, orientation):
    """Undoes an EXIF orientation: `[H, W, 3]` to `[H, W, 3]` or `[W, H, 3]`."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
