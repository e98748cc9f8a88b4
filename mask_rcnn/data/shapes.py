"""A synthetic data set of squares, circles and triangles, written as a COCO json with images.

It is hard enough to train on: sizes from a fifth to more than half of the image, rotation, textures that are
independent of the class, occlusion, images without objects, noise and JPEG artifacts.
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

CLASSES = ("square", "circle", "triangle")
SIDES = {"square": 4, "triangle": 3}  # number of corners of the polygons

MAX_OBJECTS = 5
EMPTY_IMAGES = 0.05  # fraction of images without objects
RADIUS = (0.1, 0.3)  # of the inscribed circle, relative to the short side; its logarithm is uniform
MIN_VISIBLE = 0.6  # an object with a smaller visible fraction is not drawn
MIN_AREA = 20  # visible pixels
NOISE = 6.0  # standard deviation, in gray levels of 0..255


def write_shapes(
    folder: str | os.PathLike, num_images: int, size: tuple[int, int], *, seed: int
) -> tuple[Path, Path]:
    """Draws images and writes them with their annotations. The same seed gives the same data set.

    Args:
        folder: Folder for `instances.json` and `images/`. It is created if it does not exist.
        num_images: Number of images. Every second one is a JPEG, the others are PNG files.
        size: (height, width) of each image.
        seed: Seed of all random numbers.

    Returns:
        (path of the json, path of the image folder), the arguments of `read_coco`.
    """
    folder = Path(folder)
    images_dir = folder / "images"
    images_dir.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(num_images):
        image, class_ids, masks = draw_scene(np.random.default_rng([seed, index]), size)
        file_name = f"{index:06d}.{'jpg' if index % 2 else 'png'}"
        Image.fromarray(image).save(images_dir / file_name)  # JPEG with Pillow's default quality of 75
        images.append({"id": index + 1, "file_name": file_name, "height": size[0], "width": size[1]})
        for class_id, mask in zip(class_ids, masks, strict=True):
            annotation = _coco_annotation(len(annotations) + 1, index + 1, class_id=class_id, mask=mask)
            annotations.append(annotation)
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    annotations_path = folder / "instances.json"
    annotations_path.write_text(json.dumps(content))
    return annotations_path, images_dir


def draw_scene(
    random: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, list[int], list[np.ndarray]]:
    """Draws one image.

    Args:
        random: NumPy generator.
        size: (height, width) of the image.

    Returns:
        image: `[H, W, 3]` uint8, RGB.
        class_ids: List of N ints, 1..3.
        masks: List of N masks `[H, W]` bool, the visible part of each object.
    """
    class_ids, masks, coverages = _place_objects(random, size)
    scene = _texture(random, size)
    for coverage in reversed(coverages):  # the first object is in front
        scene += coverage[..., None] * (_texture(random, size) - scene)
    scene += random.normal(0, NOISE, scene.shape)
    return np.clip(scene, 0, 255).astype("uint8"), class_ids, masks


def _place_objects(random, size):
    """Places objects from front to back and skips objects that would be mostly hidden."""
    class_ids, masks, coverages = [], [], []
    taken = np.zeros(size, bool)
    if random.random() < EMPTY_IMAGES:
        return class_ids, masks, coverages
    for _ in range(random.integers(1, MAX_OBJECTS + 1)):
        class_id = int(random.integers(1, len(CLASSES) + 1))
        coverage = _coverage(random, CLASSES[class_id - 1], size)
        mask = coverage >= 0.5
        visible = mask & ~taken
        if visible.sum() < max(MIN_VISIBLE * mask.sum(), MIN_AREA):
            continue
        taken |= mask
        class_ids.append(class_id)
        masks.append(visible)
        coverages.append(coverage)
    return class_ids, masks, coverages


def _coverage(random, name, size):
    """Returns how much of each pixel a random object covers, `[H, W]` in 0..1, with a smooth outline."""
    height, width = size
    radius = min(size) * np.exp(random.uniform(*np.log(RADIUS)))
    center_y = random.uniform(radius / 2, height - radius / 2)  # a large part stays inside the image
    center_x = random.uniform(radius / 2, width - radius / 2)
    y, x = np.mgrid[:height, :width] + 0.5
    y, x = y - center_y, x - center_x
    if name in SIDES:
        turn = random.uniform(0, 2 * np.pi)
        angles = turn + 2 * np.pi * np.arange(SIDES[name]) / SIDES[name]
        distance = np.max([y * np.sin(angle) + x * np.cos(angle) for angle in angles], axis=0)
    else:
        distance = np.hypot(y, x)
    return np.clip(radius - distance + 0.5, 0, 1)


def _texture(random, size):
    """Returns a texture of two random colors, `[H, W, 3]` float64, mixed by stripes or by smooth noise."""
    height, width = size
    first, second = random.uniform(20, 235, 3), random.uniform(-30, 30, 3)
    if random.random() < 0.5:
        angle, wavelength = random.uniform(0, np.pi), random.uniform(0.05, 0.3) * min(size)
        y, x = np.mgrid[:height, :width]
        pattern = np.sin(2 * np.pi * (y * np.sin(angle) + x * np.cos(angle)) / wavelength)
    else:
        cells = int(random.integers(3, 12))
        pattern = cv2.resize(
            random.uniform(-1, 1, (cells, cells)), (width, height), interpolation=cv2.INTER_CUBIC
        )
    return first + pattern[..., None] * second


def _coco_annotation(annotation_id, image_id, *, class_id, mask):
    rle: Any = coco_mask.encode(np.asfortranarray(mask, dtype="uint8"))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": class_id,
        "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()},
        "area": int(mask.sum()),
        "bbox": coco_mask.toBbox(rle).tolist(),
        "iscrowd": 0,
    }
