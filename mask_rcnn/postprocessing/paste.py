"""Converts the masks of detections, M x M in the box, to pixel masks in the image.

Between the points of the M x M grid, probabilities are interpolated linearly in y, then in x. Each axis has a
thin matrix of weights. Their product is computed a few rows at a time, so that no float array of the size of
the image exists.

Three conventions are in use, about half a pixel apart:

- `"pixel_centers"`: samples the grid at the center of each pixel. Beyond the outermost points of the grid the
  mask fades to zero (detectron2).
- `"padded_resize"`: pads the grid with zeros, enlarges the box accordingly and truncates it to whole pixels,
  then resizes the grid to that size (torchvision).
- `"rounded_box"`: the first one, with the box rounded to whole pixels (half to even). Values are never below
  the minimum of the mask, so a mask that is all foreground does not fade at the border (matterport).

Letters: M side of the mask, H W image, h w crop.
"""

import numpy as np

THRESHOLD = 0.5  # Mask R-CNN, section 3.1: "binarized at a threshold of 0.5"

# Multiplications per matrix product. OpenBLAS computes products of this size in the calling thread. It
# divides larger ones among all cores. Their threads then wait for each other if other threads compute, too:
# measured 40 times slower.
MAX_PRODUCTS = 1 << 18
TILE_COLUMNS = 1024

METHODS = ("pixel_centers", "padded_resize", "rounded_box")


def paste_mask(
    mask: np.ndarray, box: np.ndarray, image_size: tuple[int, int], *, method: str = "pixel_centers"
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the pixel mask of one object as a crop of the image.

    Args:
        mask: `[M, M]`, probabilities on the grid of the box.
        box: `[4]`, yxyx, pixels of the image. It may extend beyond the image.
        image_size: (height, width) of the image.
        method: One of METHODS, see the top of this file. Defaults to "pixel_centers".

    Returns:
        Tuple `(crop, (y, x))`: the mask `[h, w]` bool, and the position of its first pixel in the image.

    Raises:
        ValueError: If `method` is unknown or `mask` is not square.
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
    axis_weights = _resize_weights if method == "padded_resize" else _pixel_center_weights
    side = mask.shape[0]
    y, rows = axis_weights(box[0], box[2], limit=image_size[0], side=side)  # rows [h, M]
    x, columns = axis_weights(box[1], box[3], limit=image_size[1], side=side)  # columns [w, M]
    crop = _threshold_product(rows @ mask, columns.T)
    if method == "rounded_box" and mask.min() >= THRESHOLD:
        crop[:] = True
    return crop, (y, x)


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], *, method: str = "pixel_centers"
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Returns the pixel masks of N objects, in the format of `Detections`.

    Args:
        masks: `[N, M, M]`, probabilities.
        boxes: `[N, 4]`, yxyx, pixels of the image.
        image_size: (height, width) of the image.
        method: See `paste_mask`. Defaults to "pixel_centers".

    Returns:
        Tuple `(crops, origins)`: N bool arrays `[h, w]`, and `[N, 2]` int32, (y, x).
    """
    pasted = [
        paste_mask(mask, box, image_size, method=method) for mask, box in zip(masks, boxes, strict=True)
    ]
    crops = tuple(crop for crop, _ in pasted)
    return crops, np.array([origin for _, origin in pasted], "int32").reshape(-1, 2)


def _grow(box, scale):
    """Returns a box scaled about its center, with its corners truncated to whole pixels."""
    center = 0.5 * (box[:2] + box[2:])
    half = 0.5 * scale * (box[2:] - box[:2])
    return np.trunc(np.concatenate([center - half, center + half]))  # [4]


def _pixel_center_weights(start, end, *, limit, side):
    """Returns the weights of the grid points for each pixel of a crop along one axis ("pixel_centers").

    Args:
        start, end: Start and end of the box along this axis.
        limit: Size of the image along this axis, pixels.
        side: Side of the mask, M.

    Returns:
        Tuple `(first, weights)`: the first pixel of the crop, and `[pixels, M]` float32.
    """
    if end <= start:  # an empty box covers no pixel, and its grid would have a spacing of 0
        return 0, np.zeros((0, side), "float32")
    first, last = _clip(np.floor(start), np.ceil(end), limit)
    centers = np.arange(first, last) + 0.5
    return first, _hat((centers - start) / (end - start) * side - 0.5, side)


def _resize_weights(start, end, *, limit, side):
    """Like `_pixel_center_weights`, for a box of whole pixels whose last pixel is `end` ("padded_resize")."""
    pixels = max(end - start + 1, 1)
    first, last = _clip(start, start + pixels, limit)
    grid = (np.arange(first, last) - start + 0.5) * side / pixels - 0.5
    return first, _hat(np.clip(grid, 0, side - 1), side)


def _clip(start, end, limit):
    first = int(min(max(start, 0), limit))
    return first, max(int(min(max(end, 0), limit)), first)


def _hat(positions, side):
    """Returns the matrix of linear interpolation: 1 at a grid point, falling to 0 at its neighbors."""
    distance = np.abs(positions[:, None] - np.arange(side))  # [pixels, M]
    return np.maximum(1 - distance, 0).astype("float32")


def _threshold_product(rows, columns):
    """Returns `rows @ columns >= THRESHOLD`, computed in tiles: `[h, M] @ [M, w] -> [h, w]` bool."""
    height, width = rows.shape[0], columns.shape[1]
    crop = np.empty((height, width), bool)
    step = max(MAX_PRODUCTS // (rows.shape[1] * min(max(width, 1), TILE_COLUMNS)), 1)
    for left in range(0, width, TILE_COLUMNS):
        tile = np.s_[left : left + TILE_COLUMNS]
        for top in range(0, height, step):
            product = rows[top : top + step] @ columns[:, tile]
            np.greater_equal(product, THRESHOLD, out=crop[top : top + step, tile])
    return crop
