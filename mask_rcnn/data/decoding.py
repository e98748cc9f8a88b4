"""The bytes of image files to pixels, not yet upright: by Pillow, or by TensorFlow where that takes less.

Decoders get only the parts of a file that pixels are made of: metadata can be damaged or enormous too.
"""

import io
import struct
import zlib

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mask_rcnn.data.array_decoding import decode_deep_png
from mask_rcnn.data.image_headers import SOF_MARKERS, SOS, jpeg_segments, png_chunks

PLUGINS = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
}
# Bytes of a file that are read: more than its pixels can fill belong to something else, as the video that
# phones append to a photograph.
MAX_BYTES_PER_PIXEL = 8
MAX_OTHER_BYTES = 1 << 26

# TensorFlow decodes larger images where it gives the same pixels: Pillow keeps 4 bytes per pixel beside our
# 3, and 16 for WebP.
MAX_PILLOW_PIXELS = 1 << 26
MAX_TENSORFLOW_JPEG_BYTES = (1 << 29) - 1  # of its pixels; TensorFlow refuses more

JPEG_PIXELS_PER_BYTE = 512  # a block of 8 x 8 pixels takes at least one bit with Huffman coding
ARITHMETIC_MARKERS = range(0xC9, 0xD0)  # its blocks may take less
DEFLATE_RATIO = 1032  # zlib makes no more bytes of one; RFC 1951 codes 258 bytes with 2 bits
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type

STRIP_PIXELS = 1 << 24  # converted to RGB at a time, so that a large image is not copied as a whole


def decode_8_bits(file, header):
    """Decodes a file of at most 8 bits per sample.

    Args:
        file: opened for reading bytes.
        header: its `ImageHeader`.

    Returns:
        `[H, W, 3]` uint8, RGB, before the orientation is undone.
    """
    size = _stored_size(header)
    file = _without_metadata(file, header)
    if _takes_less_in_tensorflow(header):
        pixels = np.asarray(memoryview(decode_in_graph(file.read())))  # without a copy
    else:
        pixels = _decode_by_pillow(file, PLUGINS[header.format], size, _to_rgb)
    if pixels.shape[:2] != size:
        raise ValueError(f"its header says {size} pixels, its content {pixels.shape[:2]}")
    return pixels


def decode_channels(file, header):
    """Decodes a file with other channels than RGB, gray or with alpha, as it is.

    Args:
        file: opened for reading bytes.
        header: its `ImageHeader`.

    Returns:
        `[H, W, C]` uint8 or uint16, before the orientation is undone.
    """
    if header.bits == 16:
        pixels = decode_deep_png(_png_without_metadata(file), header.channels)
    else:
        file, plugin = _without_metadata(file, header), PLUGINS[header.format]
        pixels = _decode_by_pillow(file, plugin, _stored_size(header), _to_channels)
    expected = (*_stored_size(header), header.channels)
    if pixels.shape != expected:
        raise ValueError(f"its header says {expected}, its content {pixels.shape}")
    return pixels


def _stored_size(header):
    """Returns (height, width) before the orientation is undone."""
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


def decode_16_bits(file):
    """Decodes a 16-bit PNG file to `[H, W, 3]` uint16; Pillow would keep 8 bits of RGB."""
    import tensorflow as tf

    return tf.io.decode_png(_png_without_metadata(file), channels=3, dtype=tf.uint16).numpy()


def decode_in_graph(contents):
    """Decodes the bytes of a file, `[]` string, to `[H, W, 3]` uint8; for use in a graph or eagerly.

    Differs from Pillow: CMYK by up to 2, and a BMP file with a palette gives the numbers of its colors.
    """
    import tensorflow as tf

    return tf.cond(
        tf.io.is_jpeg(contents),
        # The accurate transform gives the pixels of Pillow and torchvision; the default is off by up to 3.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )


def _decode_by_pillow(file, plugin, size, convert):
    # Not by `Image.open`, which has limits and warnings of its own.
    with plugin(file) as image:
        if image.size != size[::-1]:
            raise ValueError(f"its header says {size} pixels, its content {image.size[::-1]}")
        image.load()
        image.info.pop("transparency", None)  # alpha is dropped
        return convert(image)


def _to_rgb(image):
    """Converts a Pillow image to `[H, W, 3]` uint8, strip by strip."""
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
    """Converts a Pillow image to `[H, W, C]` uint8 without changing its channels."""
    image = image.convert("L") if image.mode == "1" else image
    return np.array(image).reshape(*image.size[::-1], -1)


def _jpeg_without_metadata(file, header):
    """Returns the segments that pixels are made of: all but APPn, of which those of JFIF and Adobe stay."""
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
