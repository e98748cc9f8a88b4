import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from mask_rcnn.data.images import check_complete, decode_image, read_header, read_image


def soft_picture(height=24, width=32):
    """`[H, W, 3]` uint8 with soft slopes, which JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 8, x * 7, 255 - y * 4 - x * 3], axis=-1).astype("uint8")


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
def test_lossless_and_grey_files_decode_as_pillow_does(mode, file_format):
    contents = encode(Image.fromarray(soft_picture()).convert(mode), file_format)
    np.testing.assert_array_equal(decode_image(contents), by_pillow(contents))


@pytest.mark.parametrize(("mode", "tolerance"), [("RGB", 0), ("CMYK", 2)])
def test_colour_jpegs_decode_as_pillow_does(mode, tolerance):
    contents = encode(Image.fromarray(soft_picture()).convert(mode), "JPEG")
    decoded = decode_image(contents).numpy().astype(int)
    np.testing.assert_allclose(decoded, by_pillow(contents), atol=tolerance)


def test_a_16_bit_png_keeps_its_upper_8_bits():
    grey = np.array([[0x0000, 0x80FF], [0xFF00, 0x1234]], "uint16")
    decoded = decode_image(encode(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(decoded[..., 0], [[0x00, 0x80], [0xFF, 0x12]])


def test_of_an_animation_the_first_frame_is_decoded():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    decoded = decode_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
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


def test_decoding_gives_the_same_in_a_graph(tmp_path):
    contents = encode(Image.fromarray(soft_picture()), "JPEG")
    dataset = tf.data.Dataset.from_tensors((contents, 6)).map(decode_image)
    assert dataset.element_spec.shape == (None, None, 3)
    np.testing.assert_array_equal(next(iter(dataset)), decode_image(contents, 6))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected an image file.*nowhere\.jpg.*Check"):
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
    check_complete(path, read_header(path))
    path.write_bytes(contents[: len(contents) * 3 // 4])
    with pytest.raises(ValueError, match=r"complete image file.*cut"):
        check_complete(path, read_header(path))


def test_bytes_behind_the_image_do_no_harm(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(Image.fromarray(soft_picture()), "JPEG") + bytes(1000))
    check_complete(path, read_header(path))


def test_a_bmp_with_a_palette_is_refused_for_its_colours_would_be_wrong(tmp_path):
    path = tmp_path / "palette.bmp"
    Image.fromarray(soft_picture()).convert("P").save(path)
    with pytest.raises(ValueError, match="palette"):
        read_image(path)
