"""Images to compare an exported model with the Keras model on."""

import numpy as np

from mask_rcnn.data.images import read_image
from mask_rcnn.data.shapes import draw_scene

CHECK_IMAGES = 50  # two or three models look at each
SIZES = ((240, 320), (320, 240), (300, 300))  # of drawn images, pixels


def comparison_images(files, bit_depth=None, count=CHECK_IMAGES):
    """Returns `{name: [H, W, 3] uint8}`.

    Args:
        files: Paths of image files, of which the first `count` are read. None or none draws shapes.
        bit_depth: As `input.bit_depth`. Defaults to None.
        count: Largest number of images. Defaults to 50.
    """
    if files:
        return {str(file): read_image(file, bit_depth) for file in files[:count]}
    sizes = [SIZES[seed % len(SIZES)] for seed in range(count)]
    scenes = [draw_scene(np.random.default_rng(seed), size)[0] for seed, size in enumerate(sizes)]
    return {f"shapes {number}": scene for number, scene in enumerate(scenes, start=1)}
