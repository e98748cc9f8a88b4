"""Images of any number of channels for functions of OpenCV and Pillow, which take gray and RGB."""

import numpy as np

GROUP = 3  # channels that go through such a function together


def split_channels(image):
    """Returns the channels of `[H, W, C]` in a list of `[H, W, 3]`, and of `[H, W]` where fewer are left."""
    num_grouped = image.shape[-1] // GROUP * GROUP
    groups = [image[..., start : start + GROUP] for start in range(0, num_grouped, GROUP)]
    return groups + [image[..., channel] for channel in range(num_grouped, image.shape[-1])]


def join_channels(parts):
    """Returns `[H, W, C]` from the parts of `split_channels`, in their order."""
    parts = [part if part.ndim == 3 else part[..., None] for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def by_channels(function, image):
    """Applies a function of `[H, W, 3]` or `[H, W]`, which treats channels alike, to `[H, W, C]`."""
    return join_channels(function(part) for part in split_channels(image))
