"""Decodes image files of clients. Their headers are checked before they are decoded."""

import io

import numpy as np

from mask_rcnn.config import InputConfig
from mask_rcnn.data.image_io.image_headers import parse_header
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.serving.request_error import RequestError

# Each scan of a progressive JPEG file updates all pixels, so a file of 50 kB could take minutes to decode.
# Encoders write about 10 scans.
MAX_SCANS = 100
JPEG_START, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"


class UploadedImage:
    """The bytes of an image file, with the methods of a path that `read_image` uses.

    Args:
        contents: Bytes of the file.
    """

    def __init__(self, contents: bytes):
        self._contents = contents

    def __str__(self) -> str:
        return "the uploaded image"

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns the bytes as an open file."""
        return io.BytesIO(self._contents)


def check_pixels(contents: bytes, max_pixels: int) -> None:
    """Raises a `RequestError` if an image has too many pixels or scans. The decoder reports other errors.

    Args:
        contents: Bytes of the file.
        max_pixels: Largest height times width.
    """
    if contents.startswith(JPEG_START) and contents.count(JPEG_SCAN) > MAX_SCANS:
        raise RequestError(
            400,
            f"Expected a JPEG image of at most {MAX_SCANS} scans. Received: more. Save it as baseline JPEG.",
        )
    try:
        header = parse_header(io.BytesIO(contents))
    except Exception:  # damaged files, which the decoder reports
        return
    if header.height * header.width > max_pixels:
        raise RequestError(
            413,
            f"Expected an image of at most {max_pixels / 1e6:g} million pixels. "
            f"Received: {header.width} x {header.height}. Make it smaller, or start the server with a "
            "larger --max-pixels.",
        )


def decode_upload(contents: bytes, settings: InputConfig, max_pixels: int) -> np.ndarray:
    """Returns the pixels of an image file in the format of a model, `[H, W, C]`, upright.

    Args:
        contents: Bytes of the file.
        settings: `InputConfig` of the model.
        max_pixels: Largest height times width.

    Raises:
        RequestError: The file is not an image, is damaged, or is too large.
    """
    check_pixels(contents, max_pixels)
    try:
        return read_image(UploadedImage(contents), settings.bit_depth, max_pixels, **settings.pixel_format)
    except ValueError as error:
        raise RequestError(400, str(error)) from error
