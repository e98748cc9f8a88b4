"""A `Sample` with white objects on black, for the tests of transforms."""

import numpy as np

from mask_rcnn.data.augmentation.finalize_sample import finalize_sample
from mask_rcnn.data.augmentation.sample import OBJECT, Sample
from mask_rcnn.data.masks import full_mask

SQUARE = [[10, 20, 30, 20, 30, 40, 10, 40]]  # x 10 to 30, y 20 to 40


def sample_of(segmentations=(SQUARE,), boxes=((20, 10, 40, 30),), size=(60, 80), keypoints=None):
    """Returns a `Sample` with white objects on black, so that the pixels show the objects."""
    mask = np.any([full_mask(each, *size) for each in segmentations], axis=0)
    number = len(boxes)
    return Sample(
        image=np.repeat(mask[..., None], 3, axis=2).astype("uint8") * 255,
        boxes=np.array(boxes, float),
        class_ids=np.arange(1, number + 1, dtype="int32"),
        kinds=np.full(number, OBJECT, "int8"),
        areas=np.arange(number, 0, -1.0),
        segmentations=tuple(segmentations),
        keypoints=np.zeros((number, 0, 3)) if keypoints is None else np.array(keypoints, float),
        mirrored_keypoints=np.zeros(0, int) if keypoints is None else np.array([0, 2, 1]),
        matrix=np.eye(3),
        size=size,
    )


def run_lengths(mask):
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    return {
        "size": list(mask.shape),
        "counts": np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))])).tolist(),
    }


def done(sample, max_instances=9):
    return finalize_sample(sample, max_instances, needs_mask=True)
