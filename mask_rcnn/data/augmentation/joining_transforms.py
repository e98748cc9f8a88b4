"""Transforms that join a sample with samples of other training images."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from mask_rcnn.data.augmentation.sample import Sample

# `(sample, rng, **parameters) -> sample`, or `(sample, rng, others, **parameters) -> sample` if it is marked
# with `takes_others`.
Transform = Callable[..., Sample]

NUM_OTHERS = "num_others"  # attribute of a function that `takes_others` marks
# Fields of `Sample` with one row per object.
ROWS = ("boxes", "class_ids", "kinds", "areas", "segmentations", "keypoints")


def takes_others(number: int) -> Callable[[Transform], Transform]:
    """Returns a decorator for a transform `(sample, rng, others, **parameters) -> sample`.

    `others` is a list of samples of other images, drawn at random from the training set. The transforms
    before this one are already applied to them, except those that take other samples themselves.

    Args:
        number: Number of other samples that the transform needs.
    """

    def mark(transform: Transform) -> Transform:
        setattr(transform, NUM_OTHERS, number)
        return transform

    return mark


def num_others(transforms: Iterable[Transform]) -> int:
    """Returns how many samples of other images some transforms need in total."""
    return sum(_number(each) for each in transforms)


def apply_transforms(
    transforms: Iterable[Transform],
    samples: Sequence[Sample],
    seed: tuple[int, int],
    *,
    check: Callable[[Sample, Transform], Sample],
) -> Sample:
    """Applies transforms to a sample and to the other samples that they join with it.

    Args:
        transforms: Functions `(sample, rng) -> sample`, or functions marked with `takes_others`.
        samples: List with the `Sample` and `num_others(transforms)` other samples.
        seed: Two integers, the seed of all random numbers.
        check: Function of the result of a transform and of the transform. It returns the checked sample.

    Returns:
        A `Sample`.
    """
    sample, *others = samples
    rng = np.random.default_rng(seed)
    rngs = [np.random.default_rng([*seed, index]) for index in range(1, len(samples))]
    for transform in transforms:
        number = _number(transform)
        if number:
            sample = check(transform(sample, rng, others[:number]), transform)
            others, rngs = others[number:], rngs[number:]
        else:
            sample = check(transform(sample, rng), transform)
            others = [
                check(transform(other, other_rng), transform)
                for other, other_rng in zip(others, rngs, strict=True)
            ]
    return sample


def join_objects(samples: Sequence[Sample], image: np.ndarray) -> Sample:
    """Returns a sample with the objects of several samples and without a pending geometric change.

    Args:
        samples: List of `Sample`s whose objects are in the pixels of `image`.
        image: `[H, W, C]`, the new image.
    """
    rows = {name: [getattr(sample, name) for sample in samples] for name in ROWS}
    joined = {name: np.concatenate(values) for name, values in rows.items() if name != "segmentations"}
    segmentations = tuple(each for sample in samples for each in sample.segmentations)
    size = image.shape[:2]
    return replace(
        samples[0], image=image, segmentations=segmentations, matrix=np.eye(3), size=size, **joined
    )


def _number(transform: Transform) -> int:
    function = transform.func if isinstance(transform, functools.partial) else transform
    return getattr(function, NUM_OTHERS, 0)
