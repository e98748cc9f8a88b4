"""Images for the comparison of an exported model with the Keras model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mask_rcnn.config import InputConfig
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.image_io.rgb8 import from_rgb8
from mask_rcnn.data.shapes import draw_scene

CHECK_IMAGES = 50  # two or three models detect in each of them
SIZES = ((240, 320), (320, 240), (300, 300))  # (height, width) of drawn images, pixels


def comparison_images(
    files: Sequence[Path | str] | None, settings: InputConfig | None = None, count: int = CHECK_IMAGES
) -> dict[str, np.ndarray]:
    """Returns images with the channels and the dtype of a model, `{name: [H, W, C] array}`.

    Args:
        files: Paths of image files. The first `count` are read. If None or empty, images of synthetic shapes
            are drawn.
        settings: `InputConfig` of the model. Defaults to 8-bit RGB.
        count: Largest number of images. Defaults to 50.
    """
    settings = settings or InputConfig()
    if files:
        pixel_format = settings.pixel_format
        return {str(file): read_image(file, settings.bit_depth, **pixel_format) for file in files[:count]}
    sizes = [SIZES[seed % len(SIZES)] for seed in range(count)]
    scenes = [draw_scene(np.random.default_rng(seed), size)[0] for seed, size in enumerate(sizes)]
    images = [from_rgb8(scene, settings) for scene in scenes]
    return {f"shapes {number}": image for number, image in enumerate(images, start=1)}
