"""Transforms that join a sample with samples of other training images."""

import functools
from dataclasses import replace

import numpy as np

# Fields of `Sample` with a row for each object.
ROWS = ("boxes", "class_ids", "kinds", "areas", "segmentations", "keypoints")


def takes_others(number):
    """Returns a decorator for a transform `(sample, rng, others, **parameters) -> sample`.

    `others` is a list of samples of other images, drawn from the whole training set. They have been through
    the transforms that are listed before this one, except through those that take others themselves.

    Args:
        number: how many others it needs.
    """

    def mark(transform):
        transform.num_others = number
        return transform

    return mark


def num_others(transforms):
    """Returns how many samples of other images these transforms need together."""
    return sum(_number(each) for each in transforms)


def apply_transforms(transforms, samples, seed, check):
    """Applies transforms to a sample, and to the others that they join with it.

    Args:
        transforms: functions `(sample, rng) -> sample`, or those of `takes_others`.
        samples: the `Sample`, then `num_others(transforms)` of other images.
        seed: two integers, of everything that is drawn.
        check: function of what a transform returned and of the transform, which returns the sample.

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
    """Returns a sample with the objects of several samples, without a geometric change to be made.

    Args:
        samples: `Sample`s whose objects are in the pixels of `image`.
        image: `[H, W, C]`.
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
