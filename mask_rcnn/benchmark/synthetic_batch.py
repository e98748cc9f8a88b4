"""Settings of a benchmark, and the synthetic images with objects that it uses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_OBJECTS = 20  # objects per training image
MIN_SIDE, MAX_SIDE = 1 / 16, 1 / 2  # sides of an object, as a fraction of the short side of the image


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a benchmark.

    Args:
        size: (height, width) of the images, which are not resized. Defaults to (800, 1216).
        batch_size: Number of images per batch. Defaults to 1.
        precision: Keras dtype policy. Defaults to "float32".
        modes: Tuple of "inference" and "training". Defaults to both.
        repeats: Number of measurements, of which the median is reported. Defaults to 5.
        warmup: Number of runs before the measurements. Defaults to 2.
        threads: Number of threads. It only sets the threads of other processes. TensorFlow's threads in this
            process must be set before its first op. Defaults to 1.
        seed: Seed of random weights and images. Defaults to 0.
    """

    size: tuple[int, int] = (800, 1216)
    batch_size: int = 1
    precision: str = "float32"
    modes: tuple[str, ...] = ("inference", "training")
    repeats: int = 5
    warmup: int = 2
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = min(*self.size, self.batch_size, self.repeats, self.warmup, self.threads)
        if smallest < 1:
            raise ValueError(
                "Sizes, batch, repeats, warm-up and threads must be at least 1. "
                f"Received: size={self.size}, batch_size={self.batch_size}, repeats={self.repeats}, "
                f"warmup={self.warmup}, threads={self.threads}."
            )


@dataclass(frozen=True, kw_only=True)
class SyntheticBatch:
    """A batch of images with objects, which are ellipses.

    Args:
        images: `[B, H, W, 3]` uint8.
        boxes: `[B, G, 4]` float32, yxyx.
        class_ids: `[B, G]` int32.
        masks: `[B, G, H, W]` bool.
    """

    images: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray


def make_synthetic_batch(settings: Settings, num_classes: int) -> SyntheticBatch:
    """Returns the `SyntheticBatch` of `settings`. The same seed gives the same images and objects."""
    random = np.random.default_rng(settings.seed)
    height, width = settings.size
    count = (settings.batch_size, NUM_OBJECTS)
    sides = random.uniform(MIN_SIDE, MAX_SIDE, (*count, 2)) * min(height, width)
    sides = np.maximum(np.round(sides), 2)
    corners = np.floor(random.uniform(0, 1, (*count, 2)) * (np.array([height, width]) - sides + 1))
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype("float32")
    masks = np.stack([[ellipse(box, height, width) for box in image_boxes] for image_boxes in boxes])
    images = random.integers(0, 256, (settings.batch_size, height, width, 3), dtype="uint8") // 4
    for image, image_masks in zip(images, masks, strict=True):
        for mask in image_masks:
            image[mask] += random.integers(0, 9, 3, dtype="uint8") * 8
    return SyntheticBatch(
        images=images,
        boxes=boxes,
        class_ids=random.integers(1, num_classes + 1, count, dtype="int32"),
        masks=masks,
    )


def ellipse(box: Sequence[float] | np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns a mask `[height, width]` bool: pixel centers inside the ellipse that fills a yxyx box."""
    y1, x1, y2, x2 = box
    rows = (2 * (np.arange(height) + 0.5) - y1 - y2) / (y2 - y1)
    columns = (2 * (np.arange(width) + 0.5) - x1 - x2) / (x2 - x1)
    return rows[:, None] ** 2 + columns**2 <= 1
