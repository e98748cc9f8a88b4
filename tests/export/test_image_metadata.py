"""Tests that a SavedModel orients images by the same metadata as `read_image`, and reads the same pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mask_rcnn.data.image_io.images import read_image

COLORS = np.random.default_rng(0).integers(0, 256, [3, 5, 4]).astype("uint8")
RGBA = Image.fromarray(COLORS).resize((34, 21), Image.Resampling.BICUBIC)
RGB = RGBA.convert("RGB")
ORIENTATIONS = range(9)  # 0 is for "unknown"


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif_tag(number):
    tags = Image.Exif()
    tags[0x0112] = number
    return tags


def tiff(number):
    """Returns EXIF data in big-endian byte order."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, number, 0, 0)


def xmp(number, form='="{}"'):
    tag = b"tiff:Orientation" + form.format(number).encode()
    return b'<rdf:Description tiff:OrientationOfAll="9" ' + tag + b"/>"


def segment(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg_with(*parts):
    contents = encode(RGB, "JPEG")
    return contents[:2] + b"".join(parts) + contents[2:]


def png_with(part, before=b"IDAT"):
    contents = encode(RGB, "PNG")
    at = contents.index(before) - 4
    return contents[:at] + part + contents[at:]


def hexadecimal(number):
    digits = (b"Exif\0\0" + tiff(number)).hex().encode()
    return b"\nexif\n      32\n" + digits[:40] + b"\n" + digits[40:] + b"\n"


JPEG_XMP, PNG_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"XML:com.adobe.xmp\0"
JPEG_EXIF, RAW_EXIF = b"Exif\0\0", b"Raw profile type exif\0"
FILES = {
    "JPEG with XMP": jpeg_with(segment(JPEG_XMP + xmp(6))),
    "JPEG with XMP in an element": jpeg_with(segment(JPEG_XMP + xmp(6, ">{}<"))),
    "JPEG with XMP of an unknown orientation": jpeg_with(segment(JPEG_XMP + xmp(9))),
    "JPEG with XMP before EXIF": jpeg_with(segment(JPEG_XMP + xmp(6)), segment(JPEG_EXIF + tiff(3))),
    "JPEG with EXIF of no orientation and XMP": jpeg_with(
        segment(JPEG_EXIF + tiff(0)), segment(JPEG_XMP + xmp(6))
    ),
    "JPEG with bytes between its segments": jpeg_with(b"\xff\xff\xff", segment(JPEG_EXIF + tiff(6))),
    "JPEG with two EXIF segments": jpeg_with(segment(JPEG_EXIF + tiff(3)), segment(JPEG_EXIF + tiff(6))),
    "PNG with EXIF after its pixels": png_with(chunk(b"eXIf", tiff(6)), b"IEND"),
    "PNG with XMP": png_with(chunk(b"iTXt", PNG_XMP + b"\0\0en\0\0" + xmp(6))),
    "PNG with XMP after its pixels": png_with(chunk(b"iTXt", PNG_XMP + b"\0\0\0\0" + xmp(5)), b"IEND"),
    "PNG with compressed XMP": png_with(chunk(b"iTXt", PNG_XMP + b"\1\0\0\0" + zlib.compress(xmp(6)))),
    "PNG with EXIF of ImageMagick": png_with(
        chunk(b"zTXt", RAW_EXIF + b"\0" + zlib.compress(hexadecimal(6)))
    ),
    "PNG with EXIF of ImageMagick as it is": png_with(chunk(b"tEXt", RAW_EXIF + hexadecimal(8))),
    "PNG with a comment": png_with(chunk(b"tEXt", b"Comment\0tiff:Orientation")),
    "PNG without an end": encode(RGB, "PNG")[:-12],
    "WebP with XMP": encode(RGB, "WEBP", lossless=True, xmp=xmp(6)),
    "APNG": encode(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "interlaced GIF": encode(RGB.convert("P"), "GIF", interlace=1),
    "JPEG of RGB": encode(RGB, "JPEG", keep_rgb=True),
    "PNG of 16 bits": encode(Image.fromarray(COLORS[..., 0].astype("uint16") * 255 + 3), "PNG"),
    "PNG with a palette and alpha": encode(RGB.quantize(17), "PNG", transparency=bytes(range(17))),
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function like `decode` that uses `read_image`."""
    path = tmp_path_factory.mktemp("image") / "file"

    def read(contents):
        path.write_bytes(contents)
        return read_image(path)

    return read


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_pixels_of_read_image(decode, read, name):
    np.testing.assert_array_equal(decode(FILES[name]), read(FILES[name]))


@st.composite
def image_files(draw):
    """Draws the bytes of a file of any format, mode, size and orientation that both decoders read."""
    format = draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP"]))
    modes = {"JPEG": ["L", "RGB"], "GIF": ["P", "L", "1"], "BMP": ["1", "L", "P", "RGB", "RGBA"]}
    mode = draw(
        st.sampled_from(modes.get(format, ["L", "RGB", "RGBA"] + ["LA", "P", "1"] * (format == "PNG")))
    )
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    options = {}
    if format in ("JPEG", "PNG", "WEBP") and draw(st.booleans()):
        options["exif"] = exif_tag(draw(st.sampled_from(ORIENTATIONS)))
    if format in ("JPEG", "WEBP") and draw(st.booleans()):
        options["xmp"] = xmp(draw(st.sampled_from(ORIENTATIONS)))
    if format == "JPEG":
        options |= {"progressive": draw(st.booleans()), "quality": draw(st.integers(5, 100))}
    if format == "WEBP":
        options["lossless"] = draw(st.booleans())
    return encode(RGBA.resize(size).convert(mode), format, **options)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(image_files())
def test_any_file_has_the_pixels_of_read_image(decode, read, contents):
    np.testing.assert_array_equal(decode(contents), read(contents))


def test_compressed_metadata_of_any_size_cost_little(decode):
    bomb = zlib.compress(bytes(100 << 20))
    found = decode(png_with(chunk(b"iTXt", PNG_XMP + b"\1\0\0\0" + bomb)))
    np.testing.assert_array_equal(found, RGB)
