"""Loads training examples, in any process: an example depends only on its record, the config and a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mask_rcnn.config import Config, InputConfig
from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import render
from mask_rcnn.data.augmentation.finalize_sample import finalize_sample
from mask_rcnn.data.augmentation.joining_transforms import Transform, apply_transforms
from mask_rcnn.data.augmentation.sample import FILL, OBJECT, Sample, make_sample
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.input_pipeline.ground_truth import GroundTruth, needs_masks
from mask_rcnn.data.records import ImageRecord
from mask_rcnn.data.transforms import padded_size, padding_origin

IGNORED = -1  # class id of ignored regions, which are neither positives nor negatives


@dataclass(frozen=True)
class UnusableImage:
    """An image file that cannot be used.

    Args:
        position: Index of its record among the requested records, from 0.
        reason: Text that names the file and the problem.
    """

    position: int
    reason: str


@dataclass(frozen=True)
class ExampleLoader:
    """Reads an image, applies the transforms and makes the ground truth of all heads.

    Args:
        config: `Config`.
        transforms: Functions `(sample, rng) -> sample`, or functions marked with `takes_others`, in order.
        ground_truths: The `GroundTruth`s of the heads.
    """

    config: Config
    transforms: tuple[Transform, ...]
    ground_truths: tuple[GroundTruth, ...]

    def __call__(
        self, record: ImageRecord, seed: tuple[int, int], others: Sequence[ImageRecord] = ()
    ) -> dict[str, Any] | UnusableImage:
        """Returns an example, or an `UnusableImage` if one of the images cannot be used.

        Args:
            record: `ImageRecord`.
            seed: Two integers, the seed of all random numbers.
            others: The `ImageRecord`s of `num_others(transforms)` more images. Defaults to none.

        Returns:
            Dict with R objects and ignored regions:
            image: `[H, W, C]`, `input.dtype` or float32, see `augmentation.apply_geometry.render`.
            origin: (y, x) of the first pixel of the image in the padded image.
            gt_boxes: `[R, 4]` float32, yxyx, pixels of the padded image.
            gt_class_ids: `[R]` int32, 1..K, or -1 for ignored regions.
            Other keys are the ground truth of the heads, without padding rows.
        """
        settings, samples = self.config.input, []
        for position, each in enumerate((record, *others)):
            try:
                image = read_unchanged(each, settings, self.config.data.max_pixels)
            except (ValueError, OSError) as error:
                return UnusableImage(position, str(error))
            samples.append(self._sample(each, image))
        sample = apply_transforms(self.transforms, samples, seed, check=self._validated)
        sample = finalize_sample(sample, settings.max_instances, needs_masks(self.ground_truths))
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
        for ground_truth in self.ground_truths:
            values |= ground_truth(sample)
        return values

    def output_size(
        self, record: ImageRecord, seed: tuple[int, int], others: Sequence[ImageRecord] = ()
    ) -> tuple[int, int]:
        """Returns the (height, width) of an example without reading images. Transforms get images of zeros.

        Args:
            record: `ImageRecord`.
            seed: Two integers, the seed of all random numbers.
            others: The `ImageRecord`s of `num_others(transforms)` more images. Defaults to none.
        """
        settings = self.config.input
        samples = [
            self._sample(each, np.zeros((each.height, each.width, settings.channels), settings.dtype))
            for each in (record, *others)
        ]
        return apply_transforms(self.transforms, samples, seed, check=self._validated).size

    def _validated(self, sample, transform):
        return validate_sample(sample, transform, self.config.input)

    def _sample(self, record, image):
        fill = fill_color(self.config.input)
        return make_sample(record, image, keypoint_head=self.config.keypoint_head, fill=fill)


def fill_color(settings: InputConfig) -> tuple[int, ...]:
    """Returns the fill value of each channel: `FILL` for 8-bit RGB, otherwise the mean of the input.

    If `mean` is not set, the model uses the mean of its backbone, which the data pipeline does not know. Then
    the values of `FILL` are repeated.
    """
    if settings.is_rgb8:
        return FILL
    levels = settings.mean or [FILL[channel % len(FILL)] for channel in range(settings.channels)]
    most = np.iinfo(settings.dtype).max
    return tuple(int(np.clip(round(level * settings.counts_per_level), 0, most)) for level in levels)


def read_unchanged(record: ImageRecord, settings: InputConfig, max_pixels: int) -> np.ndarray:
    """Returns the pixels of a record, `[H, W, C]`. Raises a ValueError unless they have its size.

    Args:
        record: `ImageRecord`.
        settings: `InputConfig` with the channels and the dtype.
        max_pixels: Maximum height times width.
    """
    image = read_image(record.path, settings.bit_depth, max_pixels, **settings.pixel_format)
    if image.shape[:2] != (record.height, record.width):
        raise ValueError(
            "An image must not change during training. "
            f"Received: path={str(record.path)!r}, {image.shape[0]} x {image.shape[1]} pixels instead of "
            f"{record.height} x {record.width}. Train on a copy of the data."
        )
    return image


def validate_sample(sample: Sample, transform: Transform, settings: InputConfig) -> Sample:
    """Returns the result of a transform. Raises a ValueError unless it is a valid `Sample` for the input.

    Args:
        sample: Result of a transform.
        transform: The transform, for the message.
        settings: `InputConfig` with the channels and the dtype of the image.
    """
    if not isinstance(sample, Sample):
        raise ValueError(
            "A transform must return a `Sample`. "
            f"Received: {type(sample).__name__} from {transform}. Return the sample, changed or not."
        )
    lengths = {
        name: len(getattr(sample, name))
        for name in ("boxes", "class_ids", "kinds", "areas", "segmentations", "keypoints")
    }
    image, dtype, channels = sample.image, settings.dtype, settings.channels
    if len(set(lengths.values())) > 1 or image.dtype != dtype or image.shape[2:] != (channels,):
        raise ValueError(
            f"A `Sample` needs a {dtype} image of {channels} channels, and one row for each object in all of "
            f"its fields. Received: image of {image.dtype}, shape {image.shape}, {lengths} from {transform}. "
            "Change them together."
        )
    return sample
