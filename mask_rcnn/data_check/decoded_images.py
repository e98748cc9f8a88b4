"""Decodes each image file of a data set once, in threads, and computes small features for the checks."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from mask_rcnn.config import InputConfig
from mask_rcnn.data.image_io.images import read_header, read_image
from mask_rcnn.data.image_io.rgb8 import to_rgb8
from mask_rcnn.system.parallel import default_threads, submit_ahead
from mask_rcnn.system.paths import as_path

THUMBNAIL = 16  # side in pixels
HASH_SIZE = (9, 8)  # (width, height) of the small image for the hash; comparing neighbors gives 8 x 8 bits
GRAY_STEP = 4  # only every fourth pixel of each axis is tested for gray


@dataclass(frozen=True, eq=False, kw_only=True)
class DecodedImages:
    """Features of N decoded image files.

    Args:
        errors: `{index: message}` of the files that cannot be decoded. Their rows in the arrays are 0.
        digests: `[N]` S16, BLAKE2b hash of the bytes of the file.
        hashes: `[N]` uint64, difference hash: which pixels of a small gray image are brighter than their left
            neighbors.
        thumbnails: `[N, 16, 16, 3]` uint8, RGB.
        contrasts: `[N]` float32, standard deviation of the thumbnail.
        orientations: `[N]` uint8, EXIF orientation, 1..8.
        gray: `[N]` bool, whether red, green and blue are equal.
    """

    errors: dict
    digests: np.ndarray
    hashes: np.ndarray
    thumbnails: np.ndarray
    contrasts: np.ndarray
    orientations: np.ndarray
    gray: np.ndarray

    @property
    def readable(self) -> np.ndarray:
        """`[N]` bool, which files could be decoded."""
        return self.orientations > 0


def decode_images(
    paths: Sequence[Path],
    max_pixels: int,
    *,
    settings: InputConfig | None = None,
    track: Callable[[Iterable], Iterable] | None = None,
) -> DecodedImages:
    """Returns the `DecodedImages` of image files.

    Args:
        paths: Paths of the files.
        max_pixels: As in `read_image`.
        settings: `InputConfig` with bits and channels of the files. For images other than RGB, the picture of
            `to_rgb8` is used. Defaults to 8-bit RGB.
        track: Function of an iterable that yields its items and shows progress. Defaults to None: no
            progress.
    """
    settings = settings or InputConfig()
    images = DecodedImages(
        errors={},
        digests=np.zeros(len(paths), "S16"),
        hashes=np.zeros(len(paths), "uint64"),
        thumbnails=np.zeros((len(paths), THUMBNAIL, THUMBNAIL, 3), "uint8"),
        contrasts=np.zeros(len(paths), "float32"),
        orientations=np.zeros(len(paths), "uint8"),
        gray=np.zeros(len(paths), bool),
    )

    def features_of(index):
        try:
            return _features(paths[index], max_pixels, settings)
        except (ValueError, OSError) as error:
            return str(error)

    threads = default_threads()
    with ThreadPoolExecutor(threads) as pool:
        results = submit_ahead(pool, features_of, range(len(paths)), ahead=2 * threads)
        for index, future in track(results) if track else results:
            features = future.result()
            if isinstance(features, str):
                images.errors[index] = features
            else:
                for name, value in features.items():
                    getattr(images, name)[index] = value
    return images


def _features(path, max_pixels, settings):
    """Decodes one file. Returns its values for the arrays of `DecodedImages`, `{field: value}`."""
    header = read_header(path, max_pixels, settings.channels)
    pixels = to_rgb8(read_image(path, settings.bit_depth, max_pixels, **settings.pixel_format), settings)
    with as_path(path).open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    small = cv2.resize(pixels, HASH_SIZE, interpolation=cv2.INTER_AREA).astype("int32").sum(axis=-1)  # [8, 9]
    thumbnail = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    sample = pixels[::GRAY_STEP, ::GRAY_STEP]
    return {
        "digests": digest,
        "hashes": np.packbits(small[:, 1:] > small[:, :-1]).view("uint64")[0],
        "thumbnails": thumbnail,
        "contrasts": thumbnail.std(),
        "orientations": header.orientation,
        "gray": (sample == sample[..., :1]).all(),
    }


def concatenate_images(parts: Sequence[DecodedImages]) -> DecodedImages:
    """Returns the concatenated `DecodedImages` of several data sets."""
    errors, start = {}, 0
    for part in parts:
        errors |= {start + index: error for index, error in part.errors.items()}
        start += len(part.gray)
    names = [field.name for field in fields(DecodedImages) if field.name != "errors"]
    return DecodedImages(
        errors=errors, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
