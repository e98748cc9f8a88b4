"""Puts the small mask of a detection back into its box in the image.

The mask head sees each object through its box, on a grid of M x M. Between the grid's points the
probability is interpolated linearly in y, then in x: two thin matrices, one for each axis, whose
product is only ever made for a few rows at a time. So no image-sized array of floats exists.

Three conventions are in use, about half a pixel apart:

- `"pixel_centres"`: each pixel's centre is looked up in the grid; beyond the grid's outermost
  points the mask fades to zero (detectron2).
- `"padded_resize"`: the grid gets a border of zeros, the box grows with it and is cut to whole
  pixels, and the grid is resized to that many pixels (torchvision).
- `"rounded_box"`: the first, in a box that is rounded to whole pixels, half to even, and nowhere below
  the smallest value of the mask: a mask that is all object fades at no border (matterport).

Letters: M side of the mask, H W image, h w crop.
"""

import numpy as np

THRESHOLD = 0.5  # Mask R-CNN, section 3.1: "binarized at a threshold of 0.5"

# Of one matrix product. OpenBLAS computes so few in the calling thread. It divides more of them among all
# cores, where they wait for each other as soon as another thread computes too: measured 40 times slower.
MAX_PRODUCTS = 1 << 18
TILE_COLUMNS = 1024

METHODS = ("pixel_centres", "padded_resize", "rounded_box")


def paste_mask(mask, box, image_size, method="pixel_centres"):
    """Returns the pixels of one object as a crop of the image.

    Args:
        mask: `[M, M]`, probabilities on the grid of the box.
        box: `[4]`, yxyx, in the pixels of the image; may reach beyond it.
        image_size: (height, width) of the image.
        method: one of METHODS; see the head of this file.

    Returns:
        `(crop, (y, x))`: the mask `[h, w]` bool, and where its first pixel lies in the image.
    """
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}. Received: method={method!r}. "
            "Use the one of the model that the weights come from."
        )
    mask = np.asarray(mask, "float32")
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(
            f"`mask` must be square, [M, M]. Received: mask of shape {mask.shape}. "
            "Give the mask of the predicted class only."
        )
    box = np.asarray(box, "float64")
    if method == "padded_resize":
        mask = np.pad(mask, 1)
        box = _grow(box, mask.shape[0] / (mask.shape[0] - 2))
    if method == "rounded_box":
        box = np.round(box)
    axis_weights = _resize_weights if method == "padded_resize" else _pixel_centre_weights
    side = mask.shape[0]
    y, rows = axis_weights(box[0], box[2], image_size[0], side)  # rows [h, M]
    x, columns = axis_weights(box[1], box[3], image_size[1], side)  # columns [w, M]
    crop = _threshold_product(rows @ mask, columns.T)
    if method == "rounded_box" and mask.min() >= THRESHOLD:
        crop[:] = True
    return crop, (y, x)


def paste_masks(masks, boxes, image_size, method="pixel_centres"):
    """Pastes N masks, as `Detections` keeps them.

    Args:
        masks: `[N, M, M]`, probabilities.
        boxes: `[N, 4]`, yxyx, in the pixels of the image.
        image_size: (height, width) of the image.
        method: as in `paste_mask`.

    Returns:
        `(crops, origins)`: a tuple of N bool arrays `[h, w]`, and `[N, 2]` int32, (y, x).
    """
    pasted = [paste_mask(mask, box, image_size, method) for mask, box in zip(masks, boxes, strict=True)]
    crops = tuple(crop for crop, _ in pasted)
    return crops, np.array([origin for _, origin in pasted], "int32").reshape(-1, 2)


def _grow(box, scale):
    """Scales a box about its centre and drops the fractions of its corners."""
    centre = 0.5 * (box[:2] + box[2:])
    half = 0.5 * scale * (box[2:] - box[:2])
    return np.trunc(np.concatenate([centre - half, centre + half]))  # [4]


def _pixel_centre_weights(start, end, limit, side):
    """Weights of the grid's points for each pixel whose centre can be inside of the mask.

    Args:
        start, end: where the box begins and ends on this axis.
        limit: number of pixels of the image on this axis.
        side: M.

    Returns:
        `(first, weights)`: the first pixel, and `[pixels, M]` float32.
    """
    if end <= start:  # an empty box covers no pixel; its grid would have no spacing
        return 0, np.zeros((0, side), "float32")
    first, last = _clip(np.floor(start), np.ceil(end), limit)
    centres = np.arange(first, last) + 0.5
    return first, _hat((centres - start) / (end - start) * side - 0.5, side)


def _resize_weights(start, end, limit, side):
    """As `_pixel_centre_weights`, for a box of whole pixels whose far edge is included."""
    pixels = max(end - start + 1, 1)
    first, last = _clip(start, start + pixels, limit)
    grid = (np.arange(first, last) - start + 0.5) * side / pixels - 0.5
    return first, _hat(np.clip(grid, 0, side - 1), side)


def _clip(start, end, limit):
    first = int(min(max(start, 0), limit))
    return first, max(int(min(max(end, 0), limit)), first)


def _hat(positions, side):
    """Linear interpolation as a matrix: 1 at a grid point, falling to 0 at its neighbours."""
    distance = np.abs(positions[:, None] - np.arange(side))  # [pixels, M]
    return np.maximum(1 - distance, 0).astype("float32")


def _threshold_product(rows, columns):
    """Returns `rows @ columns >= THRESHOLD`, a tile at a time: `[h, M] @ [M, w] -> [h, w]` bool."""
    height, width = rows.shape[0], columns.shape[1]
    crop = np.empty((height, width), bool)
    step = max(MAX_PRODUCTS // (rows.shape[1] * min(max(width, 1), TILE_COLUMNS)), 1)
    for left in range(0, width, TILE_COLUMNS):
        tile = np.s_[left : left + TILE_COLUMNS]
        for top in range(0, height, step):
            product = rows[top : top + step] @ columns[:, tile]
            np.greater_equal(product, THRESHOLD, out=crop[top : top + step, tile])
    return crop
