"""Image files to pixels: always upright RGB, 8 bits, decoded by Pillow from what was checked before.

Whatever is wrong with a file becomes one error that names it.
"""

import contextlib
import io
import os
import stat
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mask_rcnn.data.image_headers import FORMATS, MAX_PIXELS, SOS, jpeg_segments, parse_header, png_chunks

# Bytes of a file that are read: more than its pixels can fill belong to something else, as the video that
# phones append to a photograph.
MAX_BYTES_PER_PIXEL = 8
MAX_OTHER_BYTES = 1 << 26

DEFLATE_RATIO = 1032  # zlib makes no more bytes of one; RFC 1951 codes 258 bytes with 2 bits
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type

# The last bytes of a file that was written to its end. Padding may follow them, hence the tail.
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
TAIL_BYTES = 64

STRIP_PIXELS = 1 << 24  # converted to RGB at a time, so that a large image is not copied as a whole


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


def check_complete(path, header):
    """Raises ValueError if an image file was cut off.

    The end marker tells it without decoding; a file without one is decoded to be sure.

    Args:
        path: of the file.
        header: its `ImageHeader`.
    """
    with _opened(path) as file:
        file.seek(0, os.SEEK_END)
        file.seek(-min(file.tell(), TAIL_BYTES), os.SEEK_END)
        tail = file.read()
    marker = END_MARKERS.get(header.format)
    if marker is None or marker not in tail:
        read_image(path, max_pixels=header.height * header.width)


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
    with _opened(path) as file:
        header = _checked_header(file, max_pixels)
        if header.bits == 16:
            pixels = _to_8_bits(_decode_16_bits(file), bit_depth or 16)
        else:
            pixels = _decode(file, header)
        return _upright(pixels, header.orientation)


def used_bits(path):
    """Returns how many bits the largest sample of an image file needs; None unless it is a 16-bit file."""
    with _opened(path) as file:
        if _checked_header(file, MAX_PIXELS).bits != 16:
            return None
        return int(_decode_16_bits(file).max()).bit_length()


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
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
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
    _TooLarge: "Scale the image down, cut it into tiles, or raise `max_pixels` (`detect --max-pixels`).",
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


def _decode(file, header):
    """Decodes a file of 8 bits to `[H, W, 3]` uint8, before its orientation is undone."""
    if header.format == "JPEG":
        opened = JpegImageFile(_jpeg_without_metadata(file, header))
    elif header.format == "PNG":
        opened = PngImageFile(io.BytesIO(_png_without_metadata(file)))
    else:
        plugin = {"GIF": GifImageFile, "BMP": BmpImageFile, "WEBP": WebPImageFile}[header.format]
        file.seek(0)
        opened = plugin(file)
    with opened as image:
        size = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
        if image.size != size:
            raise ValueError(f"its header says {size} pixels, its content {image.size}")
        image.load()
        image.info.pop("transparency", None)  # alpha is dropped
        return _to_rgb(image)


def _to_rgb(image):
    """Converts a Pillow image to `[H, W, 3]` uint8, strip by strip."""
    width, height = image.size
    pixels = np.empty((height, width, 3), "uint8")
    rows = max(STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _jpeg_without_metadata(file, header):
    """Returns a file with the segments that pixels are made of: all but APPn, where JFIF and Adobe stay."""
    parts = [b"\xff\xd8"]
    for marker, offset, length in jpeg_segments(file):
        if marker in (0xE0, 0xEE) or not 0xE0 <= marker <= 0xEF:
            file.seek(offset)
            parts.append(struct.pack(">BBH", 0xFF, marker, length + 2) + file.read(length))
        if marker == SOS:
            file.seek(offset + length)
    parts.append(file.read(MAX_BYTES_PER_PIXEL * header.height * header.width + MAX_OTHER_BYTES))
    return io.BytesIO(b"".join(parts))


def _png_without_metadata(file):
    """Returns the chunks that pixels are made of, after checking their checksums."""
    parts, pixel_bytes = [b"\x89PNG\r\n\x1a\n"], 0
    for kind, offset, length in png_chunks(file):
        if kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            continue
        file.seek(offset - 8)
        chunk = file.read(length + 12)
        if chunk[-4:] != struct.pack(">I", zlib.crc32(chunk[4:-4])) or len(chunk) < length + 12:
            raise ValueError(f"the checksum of a chunk {kind.decode()} is wrong, or it is cut off")
        parts.append(chunk)
        pixel_bytes += length if kind == b"IDAT" else 0
    width, height, bits, color_type = struct.unpack(">IIBB", parts[1][8:18])
    if height * (width * bits * PNG_CHANNELS[color_type] // 8 + 1) > DEFLATE_RATIO * (pixel_bytes + 1):
        raise ValueError(f"{pixel_bytes} bytes cannot hold {width} x {height} pixels")
    return b"".join(parts)


def _decode_16_bits(file):
    """Decodes a 16-bit PNG file to `[H, W, 3]` uint16; Pillow would keep 8 bits of RGB."""
    return tf.io.decode_png(_png_without_metadata(file), channels=3, dtype=tf.uint16).numpy()


def _to_8_bits(samples, bit_depth):
    """Keeps the upper 8 of `bit_depth` bits: `[...]` uint16 to uint8."""
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


def decode_image(contents, orientation=1):
    """Decodes a JPEG, PNG, GIF, BMP or WebP file in a graph that has no Python, as that of a SavedModel.

    Differs from `read_image`: CMYK by up to 2, and a BMP file with a palette gives the numbers of its colors.

    Args:
        contents: `[]` string, the bytes of the file.
        orientation: `[]` int, EXIF orientation as `read_header` gives it.

    Returns:
        `[H, W, 3]` uint8, RGB.
    """
    image = tf.cond(
        tf.io.is_jpeg(contents),
        # The accurate transform gives the pixels of Pillow and torchvision; the default is off by up to 3.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    return _upright_in_graph(tf.ensure_shape(image, [None, None, 3]), orientation)


def _upright_in_graph(image, orientation):
    """As `_upright`, with TensorFlow ops."""
    orientation = tf.convert_to_tensor(orientation)
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    mirrored = tf.reduce_any(orientation == (2, 3, 6, 7))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    upside_down = tf.reduce_any(orientation == (3, 4, 7, 8))
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)
