"""Resizing and padding of input images, and the inverse mapping of detections. It needs no TensorFlow."""

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mask_rcnn.data.channels import by_channels
from mask_rcnn.structures import FAR_EDGE

CACHED_ROWS = 64  # output rows that are interpolated at a time, so that they stay in the CPU cache


def resized_size(height, width, short_side, long_side, rounding, upscale_only=False):
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

    >>> resized_size(480, 640, 800, 1333, "round")
    (800, 1067)
    """
    scale = short_side / min(height, width)
    scale = min(max(scale, 1.0) if upscale_only else scale, long_side / max(height, width))
    whole = {"round": lambda side: int(side + 0.5), "floor": math.floor, "half_even": round}[rounding]
    return max(1, whole(height * scale)), max(1, whole(width * scale))


def input_size(original, short_side, config):
    """Returns `resized_size` of an image with the settings of an `InputConfig`.

    Args:
        original: (height, width) of the image.
        short_side: Target short side, in pixels.
        config: `InputConfig`.
    """
    long_side, rounding, upscale_only = config.long_side, config.size_rounding, config.upscale_only
    return resized_size(*original, short_side, long_side, rounding, upscale_only)


def scaled_input(settings, scale):
    """Returns an `InputConfig` whose sides are `scale` times those of `settings`, at least 1 pixel."""
    short, long = (max(1, round(scale * side)) for side in (settings.short_side, settings.long_side))
    fixed = settings.padded_size
    if fixed:
        fixed = padded_size([math.ceil(scale * side) for side in fixed], settings.pad_multiple)
    return dataclasses.replace(
        settings, short_side=short, train_short_sides=(short,), long_side=long, padded_size=fixed
    )


def padded_size(size, multiple, fixed=None):
    """Returns the padded (height, width): `fixed` if given, else the next multiples of `multiple`."""
    return tuple(fixed) if fixed else tuple(-(-int(side) // multiple) * multiple for side in size)


def padding_origin(size, padded, centered):
    """Returns the position (y, x) of an image of `size` in its padded image: centered, or (0, 0)."""
    return tuple((int(p) - int(s)) // 2 if centered else 0 for s, p in zip(size, padded, strict=True))


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
    def scale(self):
        """`[4]` float64, the factors that scale a yxyx box."""
        return np.tile(np.divide(self.resized, self.original), 2)

    def apply(self, image, method="bilinear", dtype="float32"):
        """Returns the image `[H, W, C]` resized to `[*resized, C]`, without padding; see `resize_image`."""
        return resize_image(image, self.resized, method, dtype)

    def apply_boxes(self, boxes):
        """Maps boxes `[..., 4]` from the original image to the padded image, float32."""
        return (np.asarray(boxes) * self.scale + np.tile(self.origin, 2)).astype("float32")

    def apply_keypoints(self, keypoints):
        """Maps keypoints `[..., 3]`, (y, x, any value), from the original to the padded image, float32."""
        return (np.asarray(keypoints) * (*self.scale[:2], 1) + (*self.origin, 0)).astype("float32")

    def invert_keypoints(self, keypoints):
        """Maps keypoints `[..., 3]`, (y, x, any value), from the padded to the original image, float32."""
        return ((np.asarray(keypoints) - (*self.origin, 0)) / (*self.scale[:2], 1)).astype("float32")

    def invert_boxes(self, boxes, inclusive=False):
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


def resize_image(image, size, method="bilinear", dtype="float32"):
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
    top, bottom, row_share = _nearest_float32(height, size[0])
    used = np.unique([top, bottom])  # only these rows are converted to float32, few of a large image
    top, bottom = np.searchsorted(used, top), np.searchsorted(used, bottom)
    rows = image.reshape(height, width * channels)[used]
    left, right, share = _nearest_float32(width, size[1])
    first, second = (
        rows.take(np.ravel(each[:, None] * channels + np.arange(channels)), axis=1).astype("float32")
        for each in (left, right)
    )
    rows = _blend(first, second, np.repeat(share, channels))  # [used, W' * C]
    resized = np.empty((size[0], size[1] * channels), "float32")
    for start in range(0, size[0], CACHED_ROWS):
        part = slice(start, start + CACHED_ROWS)
        resized[part] = _blend(
            rows.take(top[part], axis=0), rows.take(bottom[part], axis=0), row_share[part, None]
        )
    return resized.reshape(*size, channels)


def _blend(first, second, share):
    """Returns `first + (second - first) * share`. It overwrites both arrays to save memory."""
    second -= first
    second *= share
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
    for below, y_share in ((0, 1 - upper_y), (1, upper_y)):
        rows = image[y + below] * y_share[:, None, None]  # [H', W + 2, C]
        for right, x_share in ((0, 1 - upper_x), (1, upper_x)):
            resized = resized + rows[:, x + right] * x_share[:, None]  # [H', W', C]
    return resized


def _nearest_pixels(inputs, outputs):
    """Returns the first of the two pixels around each sample, and the weight of the second.

    The axis has a border of one pixel before the image. The results are int64 and float64 `[outputs]`.
    """
    position = (np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5
    low = np.floor(position)
    return low.astype("int64") + 1, position - low


def pad_image(image, size, origin=(0, 0)):
    """Returns the image `[H, W, C]` at `origin` (y, x) in an image of zeros of `size` (height, width)."""
    after = [int(size[axis]) - origin[axis] - image.shape[axis] for axis in (0, 1)]
    return np.pad(image, [(origin[0], after[0]), (origin[1], after[1]), (0, 0)])
