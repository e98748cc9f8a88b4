"""Compares the image decoders of a SavedModel with `read_image`, and tests their limits."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from mask_rcnn.export.image_graph import exif, gif, webp
from mask_rcnn.export.image_graph.image_files import MAX_SCANS, decode_file, file_format

PIXELS = np.random.default_rng(0).integers(0, 256, [20, 30, 4]).astype("uint8")
RGB = Image.fromarray(PIXELS[..., :3])
RGBA = Image.fromarray(PIXELS)
TURNED = RGB.rotate(180)
MAX_PIXELS = 1_000_000  # limit in the fixture `decode`


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def orientation(number):
    tags = Image.Exif()
    tags[0x0112] = number
    return tags


FILES = {
    "JPEG": encode(RGB, "JPEG"),
    "progressive JPEG": encode(RGB, "JPEG", progressive=True),
    "gray JPEG": encode(RGB.convert("L"), "JPEG"),
    "turned JPEG": encode(RGB, "JPEG", exif=orientation(6)),
    "PNG": encode(RGB, "PNG"),
    "PNG with alpha": encode(RGBA, "PNG"),
    "PNG with palette": encode(RGB.quantize(9), "PNG", bits=4),
    "black and white PNG": encode(RGB.convert("1"), "PNG"),
    "turned PNG": encode(RGB, "PNG", exif=orientation(8)),
    "GIF": encode(RGB.convert("P"), "GIF"),
    "GIF with a comment": encode(RGB.convert("P"), "GIF", comment=b"x" * 3000),
    "transparent GIF": encode(RGB.convert("P"), "GIF", transparency=3),
    "animated GIF": encode(RGB.convert("P"), "GIF", save_all=True, append_images=[TURNED.convert("P")] * 9),
    "large GIF": encode(RGB.resize((400, 300)).convert("P"), "GIF"),
    "BMP": encode(RGB, "BMP"),
    "BMP with palette": encode(RGB.quantize(200), "BMP"),
    "BMP with a short palette": encode(RGB.quantize(5), "BMP"),
    "gray BMP": encode(RGB.convert("L"), "BMP"),
    "black and white BMP": encode(RGB.convert("1"), "BMP"),
    "BMP of 32 bits": encode(RGBA, "BMP"),
    "WebP": encode(RGB, "WEBP"),
    "lossless WebP": encode(RGB, "WEBP", lossless=True),
    "WebP with alpha": encode(RGBA, "WEBP", lossless=True, exact=True),
    "lossy WebP with alpha": encode(RGBA, "WEBP"),
    "animated WebP": encode(RGB, "WEBP", lossless=True, save_all=True, append_images=[TURNED] * 3),
    "turned WebP": encode(RGB, "WEBP", lossless=True, exif=orientation(3)),
}


def by_pillow(contents):
    with Image.open(io.BytesIO(contents)) as image:
        image = ImageOps.exif_transpose(image)
        image.load()
        image.info.pop("transparency", None)  # alpha is dropped
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_pixels_that_pillow_reads(decode, name):
    np.testing.assert_array_equal(decode(FILES[name]), by_pillow(FILES[name]))


def test_cmyk_has_almost_the_pixels_that_pillow_reads(decode):
    contents = encode(RGB.convert("CMYK"), "JPEG")
    np.testing.assert_allclose(decode(contents).astype(int), by_pillow(contents), atol=2)


def bmp(bits, rows, palette=b"", compression=0, height=None):
    height = height or len(rows)
    offset = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 4, height, 1, bits, compression, 0, 0, 0, len(palette) // 4, 0)
    data = b"".join(rows)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def test_bmp_of_4_bits_by_hand(decode):
    palette = b"\x01\x02\x03\0" + b"\x04\x05\x06\0"  # blue, green, red
    contents = bmp(4, [b"\x01\x10\0\0", b"\x11\x11\0\0"], palette)  # the last row comes first
    np.testing.assert_array_equal(decode(contents)[..., 0], [[6, 6, 6, 6], [3, 6, 6, 3]])
    np.testing.assert_array_equal(decode(contents)[1, 0], [3, 2, 1])


def test_bmp_with_the_first_row_at_the_top(decode):
    rows = [b"\1" * 12, b"\2" * 12]
    assert decode(bmp(24, rows, height=-2))[:, 0, 0].tolist() == [1, 2]
    assert decode(bmp(24, rows))[:, 0, 0].tolist() == [2, 1]


def lying_png(width, height):
    """Returns a PNG file of a few bytes whose header declares many pixels."""

    def chunk(name, data):
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def replaced(contents, at, data):
    return contents[:at] + data + contents[at + len(data) :]


def frame_size(width, height):
    """Returns the GIF file in FILES with another size of its frame, but not of its screen."""
    at = int(gif._find_image(FILES["GIF"]))
    return replaced(FILES["GIF"], at + 5, struct.pack("<HH", width, height))


def canvas_size(name, width, height):
    return replaced(FILES[name], 24, (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


@pytest.mark.parametrize(
    ("contents", "size"),
    [
        (encode(Image.new("L", (1001, 1000)), "PNG"), [1000, 1001]),
        (encode(Image.new("L", (1001, 1000)), "JPEG"), [1000, 1001]),
        (encode(Image.new("P", (1001, 1000)), "GIF"), [1000, 1001]),
        (encode(Image.new("P", (1001, 1000)), "BMP"), [1000, 1001]),
        (encode(Image.new("RGB", (1001, 1000)), "WEBP"), [1000, 1001]),
        (encode(Image.new("RGB", (1001, 1000)), "WEBP", lossless=True), [1000, 1001]),
        (lying_png(100_000, 90_000), [90000, 100000]),
        (canvas_size("animated WebP", 16_000_000, 16), [16, 16000000]),
    ],
)
def test_the_limit_of_pixels_holds_before_anything_is_decoded(decode, contents, size):
    expected = rf"at most {MAX_PIXELS} pixels.*--max-pixels.*\[2\] \[{size[0]} {size[1]}\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
        decode(contents)


DAMAGED = {
    "empty": b"",
    "text": b"no image",
    "GIF whose frame is larger than its screen": frame_size(60_000, 60_000),
    "GIF that never ends": FILES["GIF"][:-2] + b"\1\0" * 100_000,
    "GIF of nothing but extensions": FILES["GIF"][:13] + b"!\xfe\0" * 100_000,
    "BMP with run lengths": bmp(8, [b"\1" * 4], bytes(1024), compression=1),
    "BMP of 16 bits": bmp(16, [b"\1" * 8]),
    "BMP whose height is the lowest number": bmp(24, [b"\1" * 12], height=-(2**31)),
    "PNG that has too few pixels": lying_png(900, 900),
    "animated WebP with a larger canvas": canvas_size("animated WebP", 900, 900),
    "WebP with a chunk of 4 GB": replaced(FILES["animated WebP"], 34, b"\xff" * 4),
    "JPEG of nothing but scans": FILES["progressive JPEG"][:-2] + b"\xff\xda" * (MAX_SCANS + 1) + b"\xff\xd9",
    **{f"half a {name}": contents[: len(contents) // 2] for name, contents in FILES.items()},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_an_error_with_its_index(decode, name):
    start = time.process_time()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"complete JPEG, PNG, GIF, BMP or WebP files.*\[2\]"
    ):
        decode(DAMAGED[name])
    assert time.process_time() - start < 10


def test_no_frame_but_the_first_is_decoded(decode):
    frames = [RGB.rotate(angle).convert("P") for angle in range(3)]
    few = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    start = few.index(b"!\xf9", int(gif._find_image(few)))  # start of the second frame
    many = few[:start] + few[start:-1] * 5000 + b";"
    assert gif.first_frame(many).numpy() == gif.first_frame(few).numpy()
    assert len(gif.first_frame(many).numpy()) < len(few)
    np.testing.assert_array_equal(decode(many), decode(few))


def test_an_animated_webp_becomes_a_still_one():
    contents = webp._first_frame(FILES["animated WebP"]).numpy()
    with Image.open(io.BytesIO(contents)) as image:
        assert image.n_frames == 1
        assert struct.unpack("<I", contents[4:8])[0] == len(contents) - 8


def test_much_metadata_costs_little():
    directory = b"II*\0" + b"\x08\0\0\0" + b"\xff\xff" + b"\x10\x01\x03\0\x01\0\0\0\x06\0\0\0" * 65535
    png = FILES["PNG"]
    chunk = struct.pack(">I", len(directory)) + b"eXIf" + directory + b"\0\0\0\0"
    start = time.process_time()
    assert exif.orientation(png[:33] + chunk + png[33:], "PNG").numpy() == 1
    assert time.process_time() - start < 5


def test_the_format_is_told_by_the_first_bytes():
    names = {name: file_format(contents).numpy().decode() for name, contents in FILES.items()}
    assert names["gray JPEG"] == "JPEG" and names["turned PNG"] == "PNG" and names["animated GIF"] == "GIF"
    assert names["gray BMP"] == "BMP" and names["animated WebP"] == "WEBP"
    assert file_format(b"").numpy() == b""


@pytest.mark.parametrize(("bit_depth", "shift"), [(None, 8), (16, 8), (12, 4)])
def test_samples_of_16_bits_have_the_declared_depth(bit_depth, shift):
    samples = np.random.default_rng(0).integers(0, 4096, [8, 9]).astype("uint16")
    contents = encode(Image.fromarray(samples), "PNG")
    found = decode_file(0, contents, bit_depth=bit_depth)
    np.testing.assert_array_equal(found[..., 1], samples >> shift)


def test_a_sample_over_the_declared_depth_is_an_error():
    contents = encode(Image.fromarray(np.full([8, 9], 4096, "uint16")), "PNG")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)complete JPEG, PNG, GIF, BMP or WebP files.*1"
    ):
        decode_file(1, contents, bit_depth=12)
