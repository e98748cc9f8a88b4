"""Transforms of training samples by name, for `input.transforms`. Users can register their own.

A transform is any function `(sample, rng, **parameters) -> sample`. `rng` is a NumPy generator that depends
only on the seed of the run and the position of the image in it. A transform must take all random numbers from
it. A transform that also needs other images is marked with `data.joining_transforms.takes_others`.
"""

import ast
import functools
import inspect
from dataclasses import replace

import cv2
import numpy as np

from mask_rcnn.config import InputConfig
from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.copy_paste import copy_paste
from mask_rcnn.data.augmentation.geometric import random_window, rotate, rotate_90, shear, vertical_flip
from mask_rcnn.data.augmentation.joining_transforms import Transform, num_others
from mask_rcnn.data.augmentation.mosaic import mosaic
from mask_rcnn.data.augmentation.photometric import blur, grayscale, hue, jpeg, noise
from mask_rcnn.data.augmentation.sample import Sample
from mask_rcnn.data.transforms import input_size
from mask_rcnn.registry import Registry

TRANSFORMS = Registry("input.transforms")
LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B in the gray level, ITU-R BT.601


def make_transforms(config: InputConfig) -> tuple[Transform, ...]:
    """Returns the transforms of an `InputConfig`: resize, horizontal flip, and those of `transforms`.

    Args:
        config: `InputConfig`.

    Returns:
        Tuple of functions `(sample, rng) -> sample`. Functions marked with `takes_others` also take other
        samples.
    """
    return (
        functools.partial(resize_to_input, config=config),
        functools.partial(horizontal_flip, probability=config.horizontal_flip),
        *map(parse_transform, config.transforms),
    )


def parse_transform(text: str) -> Transform:
    """Returns the registered transform for a text with its name and parameters.

    Args:
        text: Name and parameters, such as "scale_jitter low=0.5 high=2.0". Values are Python literals.

    Raises:
        ValueError: The name is not registered, or a parameter is wrong.
    """
    name, *parameters = text.split()
    transform = TRANSFORMS.find(name)
    try:
        pairs = [parameter.split("=") for parameter in parameters]
        arguments = {key: ast.literal_eval(value) for key, value in pairs}
        samples = ("sample", "rng", "others") if num_others([transform]) else ("sample", "rng")
        inspect.signature(transform).bind(*samples, **arguments)
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(
            'The parameters of a transform are `name=value`, as in "scale_jitter low=0.5 high=2.0". '
            f"Received: {text!r} ({error}). Correct `input.transforms`."
        ) from error
    return functools.partial(transform, **arguments)


def resize_to_input(sample: Sample, rng: np.random.Generator, config: InputConfig) -> Sample:
    """Resizes to a short side that is drawn from `train_short_sides`.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        config: `InputConfig`.
    """
    size = input_size(sample.size, rng.choice(config.train_short_sides), config)
    return sample.moved(affine.scaling(*np.divide(size, sample.size)), size)


@TRANSFORMS.register("horizontal_flip")
def horizontal_flip(sample: Sample, rng: np.random.Generator, probability: float = 0.5) -> Sample:
    """Flips left to right with a probability. Left and right keypoints are swapped.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        probability: Probability of a flip. Defaults to 0.5.
    """
    if rng.random() < probability:
        return sample.moved(affine.mirror(sample.size[1]), sample.size)
    return sample


@TRANSFORMS.register("scale_jitter")
def scale_jitter(
    sample: Sample, rng: np.random.Generator, *, low: float = 0.1, high: float = 2.0, side: int | None = None
) -> Sample:
    """Large-scale jitter: scales by a random factor, then crops larger images and pads smaller ones.

    Reference: Ghiasi et al. 2021, Simple Copy-Paste, section 3.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        low: Smallest factor of the sides. Defaults to 0.1.
        high: Largest factor of the sides. Defaults to 2.0.
        side: Height and width of the result in pixels, as in the paper, which uses 1024. The image is first
            scaled to fit into this square, whatever its size was, then scaled by the factor. Then it is
            cropped at a random place, or padded at the bottom and right with ImageNet's mean color. Defaults
            to None: larger images are cropped to their size before, and smaller images stay small and are
            padded in the batch.
    """
    factor = rng.uniform(low, high) * (side / max(sample.size) if side else 1)
    content = np.maximum(1, np.round(np.multiply(sample.size, factor))).astype(int)
    scaled = sample.moved(affine.scaling(*np.divide(content, sample.size)), content)
    return random_window(scaled, rng, (side, side) if side else np.minimum(content, sample.size))


@TRANSFORMS.register("crop")
def crop(sample: Sample, rng: np.random.Generator, *, height: float = 0.8, width: float = 0.8) -> Sample:
    """Crops a window of a fixed relative size at a random place.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        height: Height of the window as a fraction of the image height, in (0, 1]. Defaults to 0.8.
        width: Width of the window as a fraction of the image width, in (0, 1]. Defaults to 0.8.
    """
    window = np.ceil(np.multiply(sample.size, (height, width))).astype(int)
    return random_window(sample, rng, np.clip(window, 1, sample.size))


@TRANSFORMS.register("color_jitter")
def color_jitter(
    sample: Sample,
    rng: np.random.Generator,
    *,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
) -> Sample:
    """Changes brightness, contrast and saturation by random factors between 1 - x and 1 + x.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        brightness: x of the brightness. Defaults to 0.2.
        contrast: x of the contrast, which scales the distance to the mean gray level. Defaults to 0.2.
        saturation: x of the saturation, which scales the distance of a pixel to its gray level. Defaults to
            0.2.
    """
    bright, contrasted, saturated = 1 + rng.uniform(-1, 1, 3) * (brightness, contrast, saturation)
    mean = np.dot(cv2.mean(sample.image)[:3], LUMA) * bright
    levels = (np.arange(256) * bright - mean) * contrasted + mean
    image = cv2.LUT(sample.image, np.clip(np.round(levels), 0, 255).astype("uint8"))
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return replace(sample, image=cv2.addWeighted(image, saturated, gray, 1 - saturated, 0))


for _transform in (
    vertical_flip,
    rotate_90,
    rotate,
    shear,
    blur,
    noise,
    jpeg,
    hue,
    grayscale,
    copy_paste,
    mosaic,
):
    TRANSFORMS.register(_transform.__name__)(_transform)
