"""Transforms of training samples, by name: what `input.transforms` lists and users add.

A transform is any function `(sample, rng, **parameters) -> sample`. It draws from `rng`, a NumPy generator
that depends on the seed of the run and the place of the image in it, and on nothing else. One that needs
other images too is marked with `data.others.takes_others`.
"""

import ast
import functools
import inspect
from dataclasses import replace

import cv2
import numpy as np

from mask_rcnn.data import affine
from mask_rcnn.data.copy_paste import copy_paste
from mask_rcnn.data.geometric import random_window, rotate, rotate_90, shear, vertical_flip
from mask_rcnn.data.mosaic import mosaic
from mask_rcnn.data.others import num_others
from mask_rcnn.data.photometric import blur, grayscale, hue, jpeg, noise
from mask_rcnn.data.transforms import input_size
from mask_rcnn.registry import Registry

TRANSFORMS = Registry("input.transforms")
LUMA = (0.299, 0.587, 0.114)  # of RGB, ITU-R BT.601


def make_transforms(config):
    """Returns the transforms of an `InputConfig`: resize, horizontal flip, and those of `transforms`.

    Args:
        config: an `InputConfig`.

    Returns:
        A tuple of functions `(sample, rng) -> sample`.
    """
    return (
        functools.partial(resize_to_input, config=config),
        functools.partial(horizontal_flip, probability=config.horizontal_flip),
        *map(parse_transform, config.transforms),
    )


def parse_transform(text):
    """Returns the transform that a text names, with its parameters.

    Args:
        text: name and parameters, such as "scale_jitter low=0.5 high=2.0". Values are Python literals.
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


def resize_to_input(sample, rng, config):
    """Resizes to a short side that is drawn from `train_short_sides`.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        config: an `InputConfig`.
    """
    size = input_size(sample.size, rng.choice(config.train_short_sides), config)
    return sample.moved(affine.scaling(*np.divide(size, sample.size)), size)


@TRANSFORMS.register("horizontal_flip")
def horizontal_flip(sample, rng, probability=0.5):
    """Mirrors left to right with a probability; left and right keypoints change places."""
    if rng.random() < probability:
        return sample.moved(affine.mirror(sample.size[1]), sample.size)
    return sample


@TRANSFORMS.register("scale_jitter")
def scale_jitter(sample, rng, low=0.1, high=2.0, side=None):
    """Large-scale jitter: scales by a random factor; larger images are cropped, smaller ones are padded.

    Reference: Ghiasi et al. 2021, Simple Copy-Paste, section 3.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        low: Smallest factor of the sides. Defaults to 0.1.
        high: Largest factor of the sides. Defaults to 2.0.
        side: Height and width of the result, pixels, as in the paper, which has 1024: the image is made to
            fit into this square, whatever its size was before, then scaled by the factor, and cropped or
            padded at its bottom and right with ImageNet's mean color. Defaults to None: larger images are
            cropped to the size they had before, smaller ones are left small, and the batch pads them.
    """
    factor = rng.uniform(low, high) * (side / max(sample.size) if side else 1)
    content = np.maximum(1, np.round(np.multiply(sample.size, factor))).astype(int)
    scaled = sample.moved(affine.scaling(*np.divide(content, sample.size)), content)
    return random_window(scaled, rng, (side, side) if side else np.minimum(content, sample.size))


@TRANSFORMS.register("crop")
def crop(sample, rng, height=0.8, width=0.8):
    """Cuts out a window of a fixed part of the image, at a random place.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        height: Height of the window as part of the image's, above 0 to 1. Defaults to 0.8.
        width: Width of the window as part of the image's, above 0 to 1. Defaults to 0.8.
    """
    window = np.ceil(np.multiply(sample.size, (height, width))).astype(int)
    return random_window(sample, rng, np.clip(window, 1, sample.size))


@TRANSFORMS.register("color_jitter")
def color_jitter(sample, rng, brightness=0.2, contrast=0.2, saturation=0.2):
    """Changes brightness, contrast and saturation by random factors from 1 - x to 1 + x.

    Args:
        sample: a `Sample`.
        rng: NumPy generator.
        brightness: x of the brightness. Defaults to 0.2.
        contrast: x of the distance to the mean gray level. Defaults to 0.2.
        saturation: x of the distance of each pixel to its gray level. Defaults to 0.2.
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
