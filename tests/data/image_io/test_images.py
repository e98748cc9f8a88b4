import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.data.image_io.images import read_complete_header, read_header, read_image, used_bits


def soft_picture(height=24, width=32):
    """Returns `[H, W, 3]` uint8 with smooth gradients, which JPEG preserves well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 8, x * 7, 255 - y * 4 - x * 3], axis=-1).astype("uint8")


@pytest.fixture
def decode(tmp_path):
    """A function of the bytes of a file that returns the result of `read_image`."""

    def read(contents):
        path = tmp_path / "picture"
        path.write_bytes(contents)
        return read_image(path)

    return read


def encode(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def by_pillow(contents):
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
        ("L", "BMP"),
        ("RGB", "GIF"),
        ("RGB", "WEBP"),
        ("L", "JPEG"),
    ],
)
def test_lossless_and_gray_files_decode_as_pillow_does(mode, file_format, decode):
    contents = encode(Image.fromarray(soft_picture()).convert(mode), file_format)
    np.testing.assert_array_equal(decode(contents), by_pillow(contents))


@pytest.mark.parametrize(("mode", "tolerance"), [("RGB", 0), ("CMYK", 2)])
def test_color_jpegs_decode_as_pillow_does(mode, tolerance, decode):
    contents = encode(Image.fromarray(soft_picture()).convert(mode), "JPEG")
    decoded = decode(contents).astype(int)
    np.testing.assert_allclose(decoded, by_pillow(contents), atol=tolerance)


def test_a_16_bit_png_keeps_its_upper_8_bits(decode):
    gray = np.array([[0x0000, 0x80FF], [0xFF00, 0x1234]], "uint16")
    decoded = decode(encode(Image.fromarray(gray), "PNG"))
    np.testing.assert_array_equal(decoded[..., 0], [[0x00, 0x80], [0xFF, 0x12]])


def test_of_an_animation_the_first_frame_is_decoded(decode):
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    decoded = decode(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(decoded, np.tile(np.uint8([255, 0, 0]), (3, 4, 1)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_undone_as_pillow_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(soft_picture()).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), upright)
    header = read_header(path)
    assert (header.height, header.width) == upright.shape[:2]


def test_coco_photos_decode_to_the_pixels_of_pillow(shared_data):
    for path in sorted((shared_data / "coco2017_permissive" / "images").glob("*.jpg"))[::16]:
        np.testing.assert_array_equal(read_image(path), by_pillow(path.read_bytes()))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected an image or video.*nowhere\.jpg.*Check"):
        read_image(tmp_path / "nowhere.jpg")


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(ValueError, match=r"notes\.jpg.*convert it"):
        read_image(tmp_path / "notes.jpg")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_truncated_file_is_found(tmp_path, file_format):
    path = tmp_path / "cut"
    contents = encode(Image.fromarray(soft_picture(96, 96)), file_format)
    path.write_bytes(contents)
    read_complete_header(path)
    path.write_bytes(contents[: len(contents) * 3 // 4])
    with pytest.raises(ValueError, match=r"complete image file.*cut"):
        read_complete_header(path)


def test_bytes_behind_the_image_do_no_harm(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(Image.fromarray(soft_picture()), "JPEG") + bytes(1000))
    read_complete_header(path)


def convert(mode):
    picture = Image.fromarray(soft_picture(37, 53))
    return picture.quantize(16).convert(mode) if mode in ("P", "PA") else picture.convert(mode)


@pytest.mark.parametrize(
    ("file_format", "modes"),
    [
        ("JPEG", "1 L RGB CMYK YCbCr"),
        ("PNG", "1 L P RGB RGBA LA"),
        ("GIF", "1 L P RGB RGBA LA"),
        ("BMP", "1 L P RGB RGBA"),
        ("WEBP", "1 L P RGB RGBA LA CMYK YCbCr PA"),
    ],
)
def test_every_mode_and_format_is_read_as_pillow_does(tmp_path, file_format, modes):
    path = tmp_path / "picture"
    for mode in modes.split():
        convert(mode).save(path, file_format)
        np.testing.assert_array_equal(read_image(path), by_pillow(path.read_bytes()), err_msg=mode)


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"subsampling": 0, "comment": b"tea"}),
        ("PNG", {"transparency": 3}),
        ("PNG", {"transparency": b"\x00\x80\xff"}),
        ("PNG", {"bits": 4}),
        ("PNG", {"bits": 1}),
        ("GIF", {"transparency": 3, "interlace": 1}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_options_of_formats_do_not_matter(tmp_path, file_format, options):
    colors = 2 ** options.get("bits", 4)
    picture = Image.fromarray(soft_picture(37, 53))
    picture = picture if file_format in ("JPEG", "WEBP") else picture.quantize(colors)
    path = tmp_path / "picture"
    picture.save(path, file_format, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about transparency
        expected = by_pillow(path.read_bytes())
    np.testing.assert_array_equal(read_image(path), expected)


def bmp(header_bytes, bits, rows, palette=b"", height=2, compression=0):
    """Returns the bytes of a BMP file of 4 x 2 pixels."""
    start = 14 + header_bytes + len(palette)
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, 4, height, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", 40, 4, height, 1, bits, compression, len(rows), 0, 0, 0, 0)
        header += bytes(header_bytes - 40)
        header = struct.pack("<I", header_bytes) + header[4:]
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


RED_BLUE = bytes([0, 0, 255, 0, 255, 0, 0, 0])  # BGR0
OS2_PALETTE = bytes([0, 0, 255, 255, 0, 0])


@pytest.mark.parametrize(
    "contents",
    [
        bmp(40, 1, bytes([0x50, 0, 0, 0] * 2), RED_BLUE),
        bmp(40, 4, bytes([0x01, 0x10, 0, 0] * 2), RED_BLUE * 8),
        bmp(40, 8, bytes([0, 1, 1, 0] * 2), RED_BLUE * 128),
        bmp(40, 8, bytes([2, 0, 2, 1, 0, 0, 4, 1, 0, 1]), RED_BLUE * 128, compression=1),  # RLE
        bmp(40, 24, bytes(range(24))),
        bmp(40, 24, bytes(range(24)), height=-2),  # first row at the top
        bmp(40, 32, bytes(range(32))),
        bmp(108, 32, bytes(range(32))),
        bmp(12, 1, bytes([0x50, 0, 0, 0] * 2), OS2_PALETTE),
        bmp(12, 24, bytes(range(24))),
    ],
)
def test_bmp_files_of_all_kinds_have_the_colors_of_pillow(tmp_path, contents):
    path = tmp_path / "picture.bmp"
    path.write_bytes(contents)
    np.testing.assert_array_equal(read_image(path), by_pillow(contents))


def png_16_bits(samples):
    """Returns a PNG file of `[H, W, C]` uint16 without row filters."""
    height, width, channels = samples.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    contents = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        contents += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return contents


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_declared_bit_depth_keeps_the_upper_8_bits_that_are_used(tmp_path, channels):
    samples = np.random.default_rng(0).integers(0, 4096, (5, 7, channels), "uint16")
    samples[0, 0] = 4095
    path = tmp_path / "camera.png"
    path.write_bytes(png_16_bits(samples))
    colors = np.repeat(samples[..., :1], 3, axis=-1) if channels < 3 else samples[..., :3]
    np.testing.assert_array_equal(read_image(path), colors >> 8)
    np.testing.assert_array_equal(read_image(path, bit_depth=12), colors >> 4)
    assert read_header(path).bits == 16 and used_bits(path) == 12
    with pytest.raises(ValueError, match=r"camera\.png.*sample of 4095, where 10 bits.*input\.bit_depth"):
        read_image(path, bit_depth=10)


def test_a_declared_bit_depth_leaves_files_of_8_bits_as_they_are(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(soft_picture()).save(path)
    np.testing.assert_array_equal(read_image(path, bit_depth=12), soft_picture())
    assert used_bits(path) is None


def test_the_pixel_limit_is_checked_before_decoding(tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(png_header(30000, 10000))
    with pytest.raises(ValueError, match=r"scan\.png.*300 million; at most 200 million.*max-pixels"):
        read_image(path)
    Image.new("1", (120, 100)).save(path)
    with pytest.raises(ValueError, match="at most"):
        read_image(path, max_pixels=11_999)
    assert read_image(path, max_pixels=12_000).shape == (100, 120, 3)
    assert MAX_PIXELS > Image.MAX_IMAGE_PIXELS  # Pillow's limit has no effect


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_every_size_below_the_pixel_limit_is_decoded(tmp_path, file_format):
    height, width = 12_207, 16_383  # 0.1 % below the limit, and the largest width of WebP
    assert 0.999 * MAX_PIXELS < height * width <= MAX_PIXELS
    path = tmp_path / f"large.{file_format.lower()}"
    Image.new("L", (width, height), 77).save(path, file_format)
    image = read_image(path)
    assert image.shape == (height, width, 3) and (image[::50] == 77).all()


def test_a_size_that_the_data_cannot_fill_is_refused(tmp_path):
    path = tmp_path / "lie.png"
    path.write_bytes(png_header(10000, 10000))
    with pytest.raises(ValueError, match=r"0 bytes cannot hold 10000 x 10000 pixels"):
        read_image(path)


@pytest.mark.parametrize("kind", ["loop", "fifo", "device", "folder", "empty", "surrogate", "escape", "null"])
def test_what_is_no_readable_file_is_one_error_with_its_name(tmp_path, kind):
    path = tmp_path / "photo.png"
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "null":
        path = "a\0b.png"
    else:
        path = os.path.join(os.fsencode(tmp_path), b"\xff.png" if kind == "surrogate" else b"\x1b[31m.png")
        with open(path, "w") as file:
            file.write("no image")
        path = os.fsdecode(path)
    for read in (read_header, read_image):
        with pytest.raises(ValueError, match=r"Expected an? .*image") as failure:
            read(path)
        assert repr(str(path)) in str(failure.value) and str(failure.value).isprintable()


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    contents = bytearray(encode(Image.fromarray(soft_picture(96, 96)), "PNG"))
    contents[len(contents) // 2] ^= 1
    path = tmp_path / "flipped.png"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"flipped\.png.*checksum"):
        read_image(path)


def test_metadata_that_pillow_warns_about_does_no_harm(tmp_path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x0112, 3, 1, 6)  # 65535 entries
    path = tmp_path / "photo.jpg"
    Image.fromarray(soft_picture()).save(path, exif=exif)
    assert read_header(path).orientation == 6
    assert read_image(path).shape == (32, 24, 3)


def test_xmp_and_imagemagick_tell_the_orientation_too(tmp_path):
    path = tmp_path / "photo.png"
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="8"/>', zip=True)
    Image.fromarray(soft_picture()).save(path, pnginfo=info)
    assert read_header(path).orientation == 8
    exif = Image.Exif()
    exif[0x0112] = 3
    profile = f"\nexif\n      36\n{exif.tobytes().hex()}\n"
    info = PngInfo()
    info.add_text("Raw profile type exif", profile, zip=True)
    Image.fromarray(soft_picture()).save(path, pnginfo=info)
    assert read_header(path).orientation == 3
