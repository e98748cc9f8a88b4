"""Mosaic augmentation: joins four images to one (Bochkovskiy et al. 2020)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry
from mask_rcnn.data.augmentation.geometric import random_window
from mask_rcnn.data.augmentation.joining_transforms import join_objects, takes_others
from mask_rcnn.data.augmentation.sample import Sample
from mask_rcnn.data.masks import encode_mask, full_mask
from mask_rcnn.data.segmentations import extent


@takes_others(3)
def mosaic(
    sample: Sample,
    rng: np.random.Generator,
    others: Sequence[Sample],
    *,
    scale: float = 0.5,
    margin: float = 0.25,
    probability: float = 0.5,
) -> Sample:
    """Divides the frame into four parts at a random point and fills each part from another image.

    Each image is scaled by `scale`, or by more if it would not fill its part, and cropped at a random place.

    Reference: Bochkovskiy et al. 2020, YOLOv4, section 3.3.

    Args:
        sample: `Sample`. Its geometric change is applied first, see `apply_geometry`.
        rng: NumPy generator.
        others: List of three `Sample`s of other images.
        scale: Scale factor of each image. Defaults to 0.5.
        margin: Smallest distance of the point from the edges as a fraction of the sides, 0 to 0.5. Defaults
            to 0.25.
        probability: Probability of a change. Defaults to 0.5.
    """
    if rng.random() >= probability:
        return sample
    size = np.array(sample.size)
    middle = np.round(size * rng.uniform(margin, 1 - margin, 2)).astype(int)
    image, parts = np.zeros((*size, sample.image.shape[-1]), sample.image.dtype), []
    for index, each in enumerate((sample, *others)):
        is_second = np.array(divmod(index, 2), bool)  # row, column
        origin, end = np.where(is_second, middle, 0), np.where(is_second, size, middle)
        if (end == origin).any():  # an empty part, for example in an image of one row
            continue
        part = _fill(each, rng, end - origin, scale=scale)
        image[origin[0] : end[0], origin[1] : end[1]] = part.image
        parts.append(_moved_part(part, origin, size))
    return join_objects(parts, image)


def _fill(sample, rng, size, *, scale):
    """Returns a crop of `size` that the image fills completely, scaled by `scale` or more."""
    scale = max(scale, *np.divide(size, sample.size))
    content = np.maximum(size, np.round(np.multiply(sample.size, scale)).astype(int))
    scaled = sample.moved(affine.scaling(*np.divide(content, sample.size)), content)
    return apply_geometry(random_window(scaled, rng, size))


def _moved_part(part, origin, size):
    """Moves the objects of a baked part to `origin` in an image of `size`; masks end at the part's edge."""
    segmentations = tuple(
        each and _moved_mask(each, part_size=part.size, origin=origin.tolist(), size=tuple(size.tolist()))
        for each in part.segmentations
    )
    points = part.keypoints + (*origin, 0)
    return replace(part, boxes=part.boxes + np.tile(origin, 2), segmentations=segmentations, keypoints=points)


def _moved_mask(segmentation, *, part_size, origin, size):
    if isinstance(segmentation, list):
        x1, y1, x2, y2 = extent(segmentation)
        if min(x1, y1) >= 0 and y2 <= part_size[0] and x2 <= part_size[1]:
            return [(np.reshape(each, (-1, 2)) + origin[::-1]).ravel().tolist() for each in segmentation]
    return encode_mask(full_mask(segmentation, *part_size), origin, size)
