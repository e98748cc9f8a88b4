"""One training example from its record, in any process: a function of the record, the config and a seed."""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data import affine
from mask_rcnn.data.finish import finish, render
from mask_rcnn.data.ground_truth import needs_masks
from mask_rcnn.data.images import read_image
from mask_rcnn.data.sample import OBJECT, Sample, make_sample
from mask_rcnn.data.transforms import padded_size, padding_origin

IGNORED = -1  # class id of a region that is neither a positive nor a negative


@dataclass(frozen=True)
class ExampleLoader:
    """Reads an image, applies the transforms and makes the ground truth of all heads.

    Args:
        config: a `Config`.
        transforms: functions `(sample, rng) -> sample`, in this order.
        truths: the `GroundTruth`s of the heads.
    """

    config: Config
    transforms: tuple
    truths: tuple

    def __call__(self, record, seed):
        """Returns an example, or a text that says why the image file cannot be used.

        Args:
            record: an `ImageRecord`.
            seed: two integers, of everything that is drawn.

        Returns:
            Dict with R objects and ignored regions:
            image: `[H, W, 3]`, uint8 or float32, see `data.finish.render`.
            origin: (y, x) of its first pixel in the padded image.
            gt_boxes: `[R, 4]` float32, yxyx, pixels of the padded image.
            gt_class_ids: `[R]` int32; -1 for ignored regions.
            and the ground truth of the heads, of at most the rows of their shapes.
        """
        settings = self.config.input
        try:
            image = read_unchanged(record, settings.bit_depth, self.config.data.max_pixels)
        except (ValueError, OSError) as error:
            return str(error)
        sample = make_sample(record, image, self.config.keypoint_head)
        rng = np.random.default_rng(seed)
        for transform in self.transforms:
            sample = checked(transform(sample, rng), transform)
        sample = finish(sample, settings.max_instances, needs_masks(self.truths))
        image = render(sample, settings.resize)
        origin = (0, 0)
        if settings.padded_size:
            padded = padded_size(sample.size, settings.pad_multiple, settings.padded_size)
            origin = padding_origin(sample.size, padded, settings.centered)
            sample = sample.moved(affine.translation(*origin), padded)
        is_object = sample.kinds == OBJECT
        values = {
            "image": image,
            "origin": origin,
            "gt_boxes": sample.output_boxes().astype("float32"),
            "gt_class_ids": np.where(is_object, sample.class_ids, IGNORED).astype("int32"),
        }
        for truth in self.truths:
            values |= truth(sample)
        return values


def read_unchanged(record, bit_depth, max_pixels):
    """Returns the pixels of a record, `[H, W, 3]` uint8; raises ValueError unless they have its size."""
    image = read_image(record.path, bit_depth, max_pixels)
    if image.shape[:2] != (record.height, record.width):
        raise ValueError(
            "An image must not change during training. "
            f"Received: path={str(record.path)!r}, {image.shape[0]} x {image.shape[1]} pixels instead of "
            f"{record.height} x {record.width}. Train on a copy of the data."
        )
    return image


def checked(sample, transform):
    """Returns what a transform made; raises a ValueError unless it is a sound `Sample`."""
    if not isinstance(sample, Sample):
        raise ValueError(
            "A transform must return a `Sample`. "
            f"Received: {type(sample).__name__} from {transform}. Return the sample, changed or not."
        )
    lengths = {
        name: len(getattr(sample, name))
        for name in ("boxes", "class_ids", "kinds", "areas", "segmentations", "keypoints")
    }
    if len(set(lengths.values())) > 1 or sample.image.dtype != np.uint8:
        raise ValueError(
            "A `Sample` needs a uint8 image, and one row for each object in all of its fields. "
            f"Received: image of {sample.image.dtype}, {lengths} from {transform}. Change them together."
        )
    return sample
