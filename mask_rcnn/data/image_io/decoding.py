"""Decodes image files with Pillow, or with TensorFlow if that takes less memory. EXIF is not applied yet.

Decoders only get the parts of a file that hold pixels, because metadata can be damaged or very large.
"""

import io
import struct
import zlib
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mask_rcnn.data.image_io.array_decoding import decode_deep_png
from mask_rcnn.data.image_io.image_headers import SOF_MARKERS, SOS, ImageHeader, jpeg_segments, png_chunks

if TYPE_CHECKING:
    import tensorflow as tf

PLUGINS = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
}
# Limit of the bytes that are read from a file. More bytes than its pixels can need are other data, such as a
# video that phones append to a photograph.
MAX_BYTES_PER_PIXEL = 8
MAX_OTHER_BYTES = 1 << 26

# TensorFlow decodes larger images in formats where it gives the same pixels. Pillow needs 4 more bytes per
# pixel besides the 3 of the result, and 16 for WebP.
MAX_PILLOW_PIXELS = 1 << 26
MAX_TENSORFLOW_JPEG_BYTES = (1 << 29) - 1  # bytes of decoded pixels; TensorFlow refuses more

JPEG_PIXELS_PER_BYTE = 512  # with Huffman coding, a block of 8 x 8 pixels needs at least one bit
ARITHMETIC_MARKERS = range(0xC9, 0xD0)  # with arithmetic coding, a block may need less
DEFLATE_RATIO = 1032  # maximum bytes that zlib decodes from one byte; RFC 1951 codes 258 bytes with 2 bits
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel by color type

STRIP_PIXELS = 1 << 24  # pixels converted to RGB at a time, to avoid a copy of a whole large image


def decode_8_bits(file: IO[bytes], header: ImageHeader) -> np.ndarray:
    """Decodes a file with at most 8 bits per sample to RGB.

    Args:
        file: Open binary file.
        header: Its `ImageHeader`.

    Returns:
        `[H, W, 3]` uint8 RGB, before the EXIF orientation is applied.

    Raises:
        ValueError: Header and content differ in size.
    """
    size = _stored_size(header)
    file = _without_metadata(file, header)
    if _takes_less_in_tensorflow(header):
        tensor = decode_in_graph(file.read())
        # Without a copy. An eager tensor is a buffer, which the annotation of `tf.Tensor` does not say.
        pixels = np.asarray(memoryview(tensor))  # pyright: ignore[reportArgumentType]
    else:
        pixels = _decode_by_pillow(file, PLUGINS[header.format], size=size, convert=_to_rgb)
    if pixels.shape[:2] != size:
        raise ValueError(f"its header says {size} pixels, its content {pixels.shape[:2]}")
    return pixels


def decode_channels(file: IO[bytes], header: ImageHeader) -> np.ndarray:
    """Decodes a file without changing its channels, for models whose input is not RGB.

    Args:
        file: Open binary file.
        header: Its `ImageHeader`.

    Returns:
        `[H, W, C]` uint8 or uint16, before the EXIF orientation is applied.

    Raises:
        ValueError: Header and content differ in shape.
    """
    if header.bits == 16:
        pixels = decode_deep_png(_png_without_metadata(file), header.channels)
    else:
        file, plugin = _without_metadata(file, header), PLUGINS[header.format]
        pixels = _decode_by_pillow(file, plugin, size=_stored_size(header), convert=_to_channels)
    expected = (*_stored_size(header), header.channels)
    if pixels.shape != expected:
        raise ValueError(f"its header says {expected}, its content {pixels.shape}")
    return pixels


def _stored_size(header):
    """Returns (height, width) before the EXIF orientation is applied."""
    return (header.height, header.width) if header.orientation < 5 else (header.width, header.height)


def _without_metadata(file, header):
    file.seek(0)
    if header.format == "JPEG":
        return io.BytesIO(_jpeg_without_metadata(file, header))
    return io.BytesIO(_png_without_metadata(file)) if header.format == "PNG" else file


def _takes_less_in_tensorflow(header):
    num_pixels = header.height * header.width
    is_refused = header.format == "JPEG" and 3 * num_pixels > MAX_TENSORFLOW_JPEG_BYTES
    return num_pixels > MAX_PILLOW_PIXELS and header.format in ("JPEG", "PNG", "WEBP") and not is_refused


def decode_16_bits(file: IO[bytes]) -> np.ndarray:
    """Decodes a 16-bit PNG file to `[H, W, 3]` uint16. Pillow would reduce RGB to 8 bits."""
    import tensorflow as tf

    return tf.io.decode_png(_png_without_metadata(file), channels=3, dtype=tf.uint16).numpy()


def decode_in_graph(contents: "tf.Tensor | bytes") -> "tf.Tensor":
    """Decodes the bytes of a file, `[]` string, to `[H, W, 3]` uint8, in a graph or eagerly.

    Differs from Pillow: CMYK by up to 2, and a BMP file with a palette gives the palette indices.
    """
    import tensorflow as tf

    return tf.cond(
        tf.io.is_jpeg(contents),
        # INTEGER_ACCURATE gives the pixels of Pillow and torchvision. The default differs by up to 3.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )


def _decode_by_pillow(file, plugin, *, size, convert):
    # Not with `Image.open`, which has its own limits and warnings.
    with plugin(file) as image:
        if image.size != size[::-1]:
            raise ValueError(f"its header says {size} pixels, its content {image.size[::-1]}")
        image.load()
        image.info.pop("transparency", None)  # alpha is dropped
        return convert(image)


def _to_rgb(image):
    """Converts a Pillow image to `[H, W, 3]` uint8, strip by strip to save memory."""
    width, height = image.size
    rows = max(STRIP_PIXELS // width, 1)
    if image.mode == "RGB" and height <= rows:
        return np.array(image)
    pixels = np.empty((height, width, 3), "uint8")
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _to_channels(image):
    """Converts a Pillow image to `[H, W, C]` uint8 with its own channels."""
    image = image.convert("L") if image.mode == "1" else image
    return np.array(image).reshape(*image.size[::-1], -1)


def _jpeg_without_metadata(file, header):
    """Returns the segments that decoding needs: all but APPn, except those of JFIF and Adobe."""
    parts, start_of_frame = [b"\xff\xd8"], None
    for marker, offset, length in jpeg_segments(file):
        if marker in (0xE0, 0xEE) or not 0xE0 <= marker <= 0xEF:
            file.seek(offset)
            parts.append(struct.pack(">BBH", 0xFF, marker, length + 2) + file.read(length))
        if marker in SOF_MARKERS:
            start_of_frame = marker
        if marker == SOS:
            file.seek(offset + length)
    num_pixels = header.height * header.width
    parts.append(file.read(MAX_BYTES_PER_PIXEL * num_pixels + MAX_OTHER_BYTES))
    contents = b"".join(parts)
    if num_pixels > JPEG_PIXELS_PER_BYTE * len(contents) and start_of_frame not in ARITHMETIC_MARKERS:
        raise ValueError(f"{len(contents)} bytes cannot hold {header.width} x {header.height} pixels")
    return contents


def _png_without_metadata(file):
    """Returns the chunks that decoding needs, after verifying their checksums."""
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
