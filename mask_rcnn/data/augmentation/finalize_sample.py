"""Final step after all transforms: removes invisible objects and selects the objects to train on."""

from dataclasses import replace

import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry, transposed
from mask_rcnn.data.augmentation.occlusion import TOLERANCE, cut_to_window
from mask_rcnn.data.augmentation.sample import IGNORE, OBJECT, Sample


def finalize_sample(sample: Sample, max_instances: int, needs_mask: bool) -> Sample:
    """Removes objects outside of the output and orders the remaining objects for training.

    Args:
        sample: `Sample` after all transforms.
        max_instances: Maximum number of objects to train on. Smaller objects become ignored regions.
        needs_mask: Whether an object without a mask becomes an ignored region.

    Returns:
        A `Sample` with an axis-aligned matrix. Its order is: training objects, ignored objects beyond
        `max_instances`, then crowd and other ignored regions, each by decreasing area. Boxes are clipped to
        the visible part.
    """
    sample = _visible(transposed(sample) if affine.is_transposed(sample.matrix) else sample)
    has_mask = np.array(list(map(bool, sample.segmentations)), bool)
    is_object = (sample.kinds == OBJECT) & (has_mask | (not needs_mask))
    by_area = np.argsort(-sample.areas, kind="stable")
    objects, others = by_area[is_object[by_area]], by_area[~is_object[by_area]]
    kinds = sample.kinds.copy()
    kinds[[*objects[max_instances:], *others[kinds[others] == OBJECT]]] = IGNORE
    return replace(sample, kinds=kinds).select([*objects, *others])


def _visible(sample):
    """Returns the sample with objects clipped to the visible part of the image; bakes rotation and shear."""
    if not affine.is_axis_aligned(sample.matrix):
        return apply_geometry(sample)
    window = affine.move_boxes([0, 0, *sample.size], np.linalg.inv(sample.matrix))[0]
    height, width = sample.image.shape[:2]
    shows_all = (window[:2] <= TOLERANCE).all() and (
        window[2:] >= (height - TOLERANCE, width - TOLERANCE)
    ).all()
    return sample if shows_all else cut_to_window(sample, window, sample)
