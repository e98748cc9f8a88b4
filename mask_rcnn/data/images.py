"""Image files: their headers by Pillow, their pixels by TensorFlow ops, always upright RGB."""

from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # what `decode_image` reads
EXIF_ORIENTATION = 0x0112  # tag, EXIF 2.3, table 4

# The last bytes of a file that was written to its end. Padding may follow them, hence the tail.
END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
TAIL_BYTES = 64


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is known of an image before its pixels are decoded.

    Args:
        height: pixels, after the orientation is applied.
        width: pixels, after the orientation is applied.
        orientation: EXIF orientation, 1..8; 1 is upright.
        format: Pillow's name: "JPEG", "PNG", ...
    """

    height: int
    width: int
    orientation: int
    format: str


def read_header(path):
    """Returns the `ImageHeader` of the file at `path`; a clear error where there is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"Expected an image file. Received: path={str(path)!r}. Check the folder and the name."
        )
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            if (
                image.format == "BMP" and image.mode == "P"
            ):  # TensorFlow would take the palette's indices for grey
                raise UnidentifiedImageError("a BMP file with a palette")
            image_format = image.format
    except (UnidentifiedImageError, SyntaxError, OSError) as error:
        raise _unreadable(path, error) from error
    if orientation not in range(1, 9):  # some cameras write 0 for "not known"
        orientation = 1
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(height, width, orientation, image_format)


def check_complete(path, header):
    """Raises ValueError if the file at `path` was cut off.

    The end marker tells it without decoding; a file without one is decoded to be sure.
    """
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(-min(file.tell(), TAIL_BYTES), 2)
        tail = file.read()
    marker = END_MARKERS.get(header.format)
    if marker is None or marker not in tail:
        read_image(path)


def read_image(path):
    """Reads an image file as uint8 `[H, W, 3]`, RGB, upright, as NumPy array."""
    header = read_header(path)
    try:
        return decode_image(Path(path).read_bytes(), header.orientation).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise _unreadable(path, error.message) from error


def decode_image(contents, orientation=1):
    """Decodes a JPEG, PNG, GIF, BMP or WebP file; for use in a graph or eagerly.

    Grey becomes RGB, CMYK becomes RGB, alpha is dropped, of 16 bits the upper 8 stay, of an
    animation the first frame.

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
    return _upright(tf.ensure_shape(image, [None, None, 3]), orientation)


def _upright(image, orientation):
    """Undoes an EXIF orientation: `[H, W, 3]` to `[H, W, 3]` or `[W, H, 3]`."""
    orientation = tf.convert_to_tensor(orientation)
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    mirrored = tf.reduce_any(orientation == (2, 3, 6, 7))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    upside_down = tf.reduce_any(orientation == (3, 4, 7, 8))
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)


def _unreadable(path, reason):
    return ValueError(
        f"Expected a complete image file, one of {', '.join(FORMATS)}. "
        f"Received: path={str(path)!r} ({reason}). "
        "Copy the file again, or convert it to PNG or JPEG."
    )
