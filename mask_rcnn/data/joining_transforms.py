"""Transforms that join a sample with samples of other training images."""

import functools
from dataclasses import replace

import numpy as np

# Fields of `Sample` with one row per object.
ROWS = ("boxes", "class_ids", "kinds", "areas", "segmentations", "keypoints")


def takes_others(number):
    """Returns a decorator for a transform `(sample, rng, others, **parameters) -> sample`.

    `others` is a list of samples of other images, drawn at random from the training set. The transforms
    before this one are already applied to them, except those that take other samples themselves.

    Args:
        number: Number of other samples that the transform needs.
    """

    def mark(transform):
        transform.num_others = number
        return transform

    return mark


def num_others(transforms):
    """Returns how many samples of other images a list of transforms needs in total."""
    return sum(_number(each) for each in transforms)


def apply_transforms(transforms, samples, seed, check):
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


def join_objects(samples, image):
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


def _number(transform):
    function = transform.func if isinstance(transform, functools.partial) else transform
    return getattr(function, "num_others", 0)
