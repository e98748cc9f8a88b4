"""Splits images into groups of channels, for OpenCV and Pillow functions that only take gray or RGB."""

from collections.abc import Callable, Iterable

import numpy as np

GROUP = 3  # number of channels that such a function takes at once


def split_channels(image: np.ndarray) -> list[np.ndarray]:
    """Returns the channels of `[H, W, C]` as a list: first `[H, W, 3]` groups, then `[H, W]` for the rest."""
    num_grouped = image.shape[-1] // GROUP * GROUP
    groups = [image[..., start : start + GROUP] for start in range(0, num_grouped, GROUP)]
    return groups + [image[..., channel] for channel in range(num_grouped, image.shape[-1])]


def join_channels(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Returns `[H, W, C]` from the list of `split_channels`."""
    parts = [part if part.ndim == 3 else part[..., None] for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def by_channels(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Applies a function of `[H, W, 3]` or `[H, W]`, which treats all channels equally, to `[H, W, C]`."""
    return join_channels(function(part) for part in split_channels(image))
