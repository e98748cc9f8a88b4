"""Resizing and padding of input images, and the inverse mapping of detections. It needs no TensorFlow."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from PIL import Image

from mask_rcnn.config import InputConfig
from mask_rcnn.data.image_io.channels import by_channels
from mask_rcnn.structures import FAR_EDGE

CACHED_ROWS = 64  # output rows that are interpolated at a time, so that they stay in the CPU cache


def resized_size(
    height: int, width: int, *, short_side: float, long_side: float, rounding: str, upscale_only: bool = False
) -> tuple[int, int]:
    """Returns the size of an image after scaling its short side to `short_side`.

    The scale is smaller if the long side would otherwise exceed `long_side`.

    Args:
        height, width: Size of the image, in pixels.
        short_side, long_side: Target short side and maximum long side, in pixels.
        rounding: Rounding of both sides: "round" (half up, detectron2), "floor" (torchvision) or "half_even"
            (matterport).
        upscale_only: Whether an image whose short side is longer than `short_side` keeps its size. The limit
            `long_side` still applies. Defaults to False.

    Returns:
        (height, width).

    >>> resized_size(480, 640, short_side=800, long_side=1333, rounding="round")
    (800, 1067)
    """
    scale = short_side / min(height, width)
    scale = min(max(scale, 1.0) if upscale_only else scale, long_side / max(height, width))
    to_int = {"round": lambda side: int(side + 0.5), "floor": math.floor, "half_even": round}[rounding]
    return max(1, to_int(height * scale)), max(1, to_int(width * scale))


def input_size(original: Sequence[int], short_side: int, config: InputConfig) -> tuple[int, int]:
    """Returns `resized_size` of an image with the settings of an `InputConfig`.

    Args:
        original: (height, width) of the image.
        short_side: Target short side, in pixels.
        config: `InputConfig`.
    """
    height, width = original
    return resized_size(
        height,
        width,
        short_side=short_side,
        long_side=config.long_side,
        rounding=config.size_rounding,
        upscale_only=config.upscale_only,
    )


def scaled_input(settings: InputConfig, scale: float) -> InputConfig:
    """Returns an `InputConfig` whose sides are `scale` times those of `settings`, at least 1 pixel."""
    short, long = (max(1, round(scale * side)) for side in (settings.short_side, settings.long_side))
    fixed = settings.padded_size
    if fixed:
        fixed = padded_size([math.ceil(scale * side) for side in fixed], settings.pad_multiple)
    return dataclasses.replace(
        settings, short_side=short, train_short_sides=(short,), long_side=long, padded_size=fixed
    )


def padded_size(
    size: Sequence[float] | np.ndarray, multiple: int, fixed: Sequence[int] | None = None
) -> tuple[int, int]:
    """Returns the padded (height, width) of an image.

    Args:
        size: (height, width) of the image.
        multiple: Each side is rounded up to a multiple of this number.
        fixed: (height, width) that is returned instead. Defaults to None.
    """
    height, width = fixed or (-(-int(side) // multiple) * multiple for side in size)
    return height, width


def padding_origin(size: Sequence[int], padded: Sequence[int], centered: bool) -> tuple[int, int]:
    """Returns the position (y, x) of the first pixel of an image in its padded image.

    Args:
        size: (height, width) of the image.
        padded: (height, width) of the padded image.
        centered: Whether the image is in the center of the padding. If False, the position is (0, 0).
    """
    if not centered:
        return 0, 0
    return (int(padded[0]) - int(size[0])) // 2, (int(padded[1]) - int(size[1])) // 2


@dataclass(frozen=True)
class Resize:
    """A resize and its inverse.

    Args:
        original: (height, width) of the original image.
        resized: (height, width) of the resized image.
        origin: (y, x) of the first pixel of the resized image in the padded image. Defaults to (0, 0).
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    origin: tuple[int, int] = (0, 0)

    @property
    def scale(self) -> np.ndarray:
        """`[4]` float64, the factors that scale a yxyx box."""
        return np.tile(np.divide(self.resized, self.original), 2)

    def apply(self, image: np.ndarray, method: str = "bilinear", dtype: DTypeLike = "float32") -> np.ndarray:
        """Returns the image `[H, W, C]` resized to `[*resized, C]`, without padding; see `resize_image`."""
        return resize_image(image, self.resized, method, dtype=dtype)

    def apply_boxes(self, boxes: ArrayLike) -> np.ndarray:
        """Maps boxes `[..., 4]` from the original image to the padded image, float32."""
        return (np.asarray(boxes) * self.scale + np.tile(self.origin, 2)).astype("float32")

    def apply_keypoints(self, keypoints: ArrayLike) -> np.ndarray:
        """Maps keypoints `[..., 3]`, (y, x, any value), from the original to the padded image, float32."""
        return (np.asarray(keypoints) * (*self.scale[:2], 1) + (*self.origin, 0)).astype("float32")

    def invert_keypoints(self, keypoints: ArrayLike) -> np.ndarray:
        """Maps keypoints `[..., 3]`, (y, x, any value), from the padded to the original image, float32."""
        return ((np.asarray(keypoints) - (*self.origin, 0)) / (*self.scale[:2], 1)).astype("float32")

    def invert_boxes(self, boxes: ArrayLike, inclusive: bool = False) -> np.ndarray:
        """Maps boxes from the padded image to the original image.

        Args:
            boxes: `[..., 4]`, yxyx.
            inclusive: Whether to map pixel indices instead of edges, as matterport's models need it. The
                index of the last pixel maps to the index of the last pixel, and results are rounded half to
                even. Defaults to False.

        Returns:
            `[..., 4]` float32, clipped to the original image.
        """
        boxes = np.asarray(boxes) - np.tile(self.origin, 2)
        if inclusive:
            scale = np.subtract(self.original, 1) / np.maximum(np.subtract(self.resized, 1), 1)
            boxes = np.round((boxes - FAR_EDGE) * np.tile(scale, 2) + FAR_EDGE)
        else:
            boxes = boxes / self.scale
        return np.clip(boxes, 0, np.tile(self.original, 2)).astype("float32")


def resize_image(
    image: np.ndarray, size: Sequence[int], method: str = "bilinear", *, dtype: DTypeLike = "float32"
) -> np.ndarray:
    """Resizes an image. Pixels are sampled at their centers.

    Args:
        image: `[H, W, C]` uint8 or uint16.
        size: (height, width) of the result.
        method: As in `InputConfig.resize`. One of
            "bilinear": Bilinear interpolation without antialiasing. The border is repeated. The result equals
                `tf.image.resize`.
            "antialiased_uint8": Pillow's bilinear filter, rounded to whole numbers.
            "uint8": Result of scikit-image followed by a cast, as in matterport. It blends the border with
                black, is never below the minimum of the image, and drops fractions.
            Defaults to "bilinear".
        dtype: "float32" or "float64". For all methods but "bilinear" also the dtype of the image. Defaults to
            "float32".

    Returns:
        `[*size, C]` of `dtype`, in the value range of the image.
    """
    height, width = map(int, size)
    if image.shape[:2] == (height, width):  # no method changes the pixels in this case
        return image.astype(dtype)
    if method == "antialiased_uint8":
        return by_channels(functools.partial(_resize_by_pillow, size=(height, width)), image).astype(dtype)
    if method == "uint8":
        resized = _interpolate(image, (height, width), "constant")
        return np.floor(np.maximum(resized, float(image.min()))).astype(dtype)
    if dtype == "float64":
        return _interpolate(image, (height, width), "symmetric")
    return _interpolate_float32(image, (height, width))


def _resize_by_pillow(image, size):
    """Resizes `[H, W, 3]` or `[H, W]` with Pillow; uint8 directly, uint16 via float32 and rounding."""
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    if image.ndim == 3:
        return np.stack([_resize_by_pillow(channel, size) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    resized = Image.fromarray(image.astype("float32")).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.round(np.asarray(resized)).astype(image.dtype)


def _interpolate_float32(image, size):
    """Returns the exact result of `tf.image.resize`: the same operations in the same order, x before y."""
    height, width, channels = image.shape
    top, bottom, row_weight = _nearest_float32(height, size[0])
    used = np.unique([top, bottom])  # only these rows are converted to float32, few of a large image
    top, bottom = np.searchsorted(used, top), np.searchsorted(used, bottom)
    rows = image.reshape(height, width * channels)[used]
    left, right, weight = _nearest_float32(width, size[1])
    first, second = (
        rows.take(np.ravel(columns[:, None] * channels + np.arange(channels)), axis=1).astype("float32")
        for columns in (left, right)
    )
    rows = _blend(first, second, np.repeat(weight, channels))  # [used, W' * C]
    resized = np.empty((size[0], size[1] * channels), "float32")
    for start in range(0, size[0], CACHED_ROWS):
        part = slice(start, start + CACHED_ROWS)
        resized[part] = _blend(
            rows.take(top[part], axis=0), rows.take(bottom[part], axis=0), row_weight[part, None]
        )
    return resized.reshape(*size, channels)


def _blend(first, second, weight):
    """Returns `first + (second - first) * weight`. It overwrites both arrays to save memory."""
    second -= first
    second *= weight
    first += second
    return first


def _nearest_float32(inputs, outputs):
    """Returns the two pixels around each sample of an axis, int64, and the weight of the second, float32."""
    half = np.float32(0.5)
    scale = np.float32(inputs) / np.float32(outputs)
    position = (np.arange(outputs, dtype="float32") + half) * scale - half
    low = np.floor(position)
    upper = np.minimum(np.ceil(position), inputs - 1)
    return np.maximum(low, 0).astype("int64"), upper.astype("int64"), position - low


def _interpolate(image, size, border):
    """Returns the image resized bilinearly in float64.

    Args:
        image: `[H, W, C]`.
        size: (height, width) of the result.
        border: Mode of `np.pad` for the border.
    """
    image = np.pad(image, [(1, 1), (1, 1), (0, 0)], border).astype("float64")
    y, upper_y = _nearest_pixels(image.shape[0] - 2, size[0])  # [H'] each
    x, upper_x = _nearest_pixels(image.shape[1] - 2, size[1])
    resized = 0.0
    # This order of the sum gives the rounding errors of scikit-image, which decide how fractions are dropped.
    for below, y_weight in ((0, 1 - upper_y), (1, upper_y)):
        rows = image[y + below] * y_weight[:, None, None]  # [H', W + 2, C]
        for right, x_weight in ((0, 1 - upper_x), (1, upper_x)):
            resized = resized + rows[:, x + right] * x_weight[:, None]  # [H', W', C]
    return resized


def _nearest_pixels(inputs, outputs):
    """Returns the first of the two pixels around each sample, and the weight of the second.

    The axis has a border of one pixel before the image. The results are int64 and float64 `[outputs]`.
    """
    position = (np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5
    low = np.floor(position)
    return low.astype("int64") + 1, position - low


def pad_image(image: np.ndarray, size: Sequence[int], origin: Sequence[int] = (0, 0)) -> np.ndarray:
    """Returns the image `[H, W, C]` at `origin` (y, x) in an image of zeros of `size` (height, width)."""
    after = [int(size[axis]) - origin[axis] - image.shape[axis] for axis in (0, 1)]
    return np.pad(image, [(origin[0], after[0]), (origin[1], after[1]), (0, 0)])
