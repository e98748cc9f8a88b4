"""Copy-paste augmentation: pastes objects of another image onto this one (Ghiasi et al. 2021)."""

from collections.abc import Sequence

import cv2
import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry
from mask_rcnn.data.augmentation.joining_transforms import join_objects, takes_others
from mask_rcnn.data.augmentation.occlusion import cover
from mask_rcnn.data.augmentation.sample import OBJECT, Sample
from mask_rcnn.data.masks import mask_in_window
from mask_rcnn.data.segmentations import mask_window


@takes_others(1)
def copy_paste(
    sample: Sample,
    rng: np.random.Generator,
    others: Sequence[Sample],
    *,
    share: float = 0.5,
    blend: float = 0.0,
    probability: float = 1.0,
) -> Sample:
    """Pastes random objects of another image onto this one, in front of its objects.

    The other image is shifted by a random offset with as much of it as possible in the frame. Covered objects
    lose the covered part of their masks, see `augmentation.occlusion.cover`.

    Reference: Ghiasi et al. 2021, Simple Copy-Paste, section 3. There, scale jitter is applied to both images
    first. To do the same, list `scale_jitter` before this transform.

    Args:
        sample: `Sample`. Its geometric change is applied first, see `apply_geometry`.
        rng: NumPy generator.
        others: List with one `Sample` of another image.
        share: Probability that an object with a mask is pasted. Defaults to 0.5: every subset is equally
            likely.
        blend: Sigma of the Gaussian that softens the edges of pasted objects, in pixels. Defaults to 0: no
            blending, which is as good according to section 3.
        probability: Probability of a change. Defaults to 1.0.
    """
    if rng.random() >= probability:
        return sample
    sample, other = apply_geometry(sample), _in_frame(others[0], rng, sample.size)
    has_mask = np.array([bool(each) for each in other.segmentations], bool)
    is_pasted = (other.kinds == OBJECT) & has_mask & (rng.random(len(has_mask)) < share)
    pasted = other.select(np.flatnonzero(is_pasted))
    mask = np.zeros(sample.size, bool)
    for segmentation in filter(None, pasted.segmentations):
        y1, x1, y2, x2 = window = mask_window(segmentation, sample.size)
        mask[y1:y2, x1:x2] |= mask_in_window(segmentation, window)
    if not mask.any():
        return sample
    return join_objects(
        [cover(sample, mask), pasted], _composed(sample.image, other.image, mask, blend=blend)
    )


def _in_frame(other, rng, size):
    """Bakes a sample at a random place of a frame of `size`.

    Along each axis, the image is completely inside of the frame, or covers it completely.
    """
    free = np.subtract(size, other.size)
    y, x = rng.integers(np.minimum(free, 0), np.maximum(free, 0) + 1)
    return apply_geometry(other.moved(affine.translation(y, x), size))


def _composed(image, pasted, mask, *, blend):
    """Returns `pasted` inside the mask and `image` elsewhere, with soft edges if `blend` is above 0."""
    if not blend:
        return cv2.copyTo(pasted, mask.astype("uint8"), image.copy()).reshape(image.shape)
    alpha = cv2.GaussianBlur(mask.astype("float32"), (0, 0), blend)[..., None]
    return np.round(pasted * alpha + image * (1 - alpha)).astype(image.dtype)
